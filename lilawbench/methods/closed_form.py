"""LiLAW's weighted loss of classes with its derivatives in closed form: a third of the operations that autograd makes.

With x = (s_y, s_max) of a sample and M = [[alpha, -beta, delta], [-1, 1, -1]], the arguments of Eq. 2-4 are t = x M:

    T = (sigmoid(t_1), sigmoid(t_2), exp(-t_3^2 / 2)),    W = <c, T>,    Q = dT/dt
    d W / d x = (Q c) M^T,      d mean(W l) / d M = mean(l x^T (Q c))

with factors c, 1 or 0 unless they are learned. On the logits z, with s = softmax(z) and any per-sample loss l,

    d (W l) / d z = W dl/dz + u - s <u, 1>,     u = l s_y (dW/ds_y) e_y + l s_max (dW/ds_max) e_max

and of cross-entropy W dl/dz has the same form, u = -W e_y. Of tied maxima the first that torch.max finds counts.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Weighted(NamedTuple):
    """mean(W l) with the slopes of the sum."""

    loss: Tensor  # [], differentiable in the logits and the losses
    weight: Tensor  # W, [B], without a graph


def terms(x: Tensor, arguments: Tensor) -> tuple[Tensor, Tensor]:
    """T and Q, each [B, 3], of x [B, 2] and M [2, 3]."""
    t = x @ arguments
    values, minus = torch.sigmoid(t), -t[:, 2]
    slopes = torch.addcmul(values, values, values, value=-1)
    gauss = torch.exp((minus * minus).mul_(-0.5), out=values[:, 2])
    torch.mul(minus, gauss, out=slopes[:, 2])
    return values, slopes


@torch.no_grad()
def classes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log softmax(z) [B, K], x [B, 2], cross-entropy [B, 1], and the classes of x, [B, 2]."""
    rows = target[:, None]
    log_probs = logits.log_softmax(1)
    log_max, top = log_probs.max(1, keepdim=True)
    log_y = log_probs.gather(1, rows)
    return log_probs, torch.cat([log_y, log_max], 1).exp_(), -log_y, torch.cat([rows, top], 1)


def weighted_loss(
    logits: Tensor, target: Tensor, arguments: Tensor, factors: Tensor, losses: Tensor | None, detach: bool
) -> Weighted:
    """mean(W l), [], and W.

    Args:
        logits: [B, K]. target: [B] int64. arguments: M, [2, 3]. factors: c, [3].
        losses: l, [B], with their own graph; None: cross-entropy, whose softmax serves both.
        detach: True stops the gradient at W.
    """
    slope = None
    with torch.no_grad():
        log_probs, x, loss, places = classes(logits, target)
        values, slopes = terms(x, arguments)
        weight = values @ factors[:, None]
        if losses is not None:
            loss = losses.detach()[:, None]
        if not detach:
            u = ((slopes * factors) @ arguments.T).mul_(x).mul_(loss)
            if losses is None:
                u[:, :1] -= weight
        elif losses is None:
            u, places = -weight, places[:, :1]
        if not detach or losses is None:
            slope = torch.zeros_like(log_probs).scatter_add_(1, places, u)
            slope.addcmul_(log_probs.exp_(), u.sum(1, keepdim=True), value=-1)
        weight = weight.squeeze(1)
        total = torch.dot(weight, loss.squeeze(1))
    return Weighted(_Mean.apply(total, logits, slope, losses, weight), weight)


def meta_gradient(
    logits: Tensor, target: Tensor, arguments: Tensor, losses: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes of mean(W l) on the first row of M with c = 1, [3]; T, [B, 3]; and l, [B]. Arguments as above."""
    _, x, loss, _ = classes(logits, target)
    if losses is not None:
        loss = losses[:, None]
    values, slopes = terms(x, arguments)
    gradient = (x[:, :1] * loss).T @ slopes
    return gradient.squeeze(0).div_(len(loss)), values, loss.squeeze(1)


class _Mean(torch.autograd.Function):
    """total / B, where the total's slopes on logits and losses are known; None: it has none there."""

    @staticmethod
    def forward(ctx, total, logits, slope, losses, weight):
        ctx.save_for_backward(slope, None if losses is None else weight)
        return total / len(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        slope, weight = ctx.saved_tensors
        return None, _times(slope, gradient), None, _times(weight, gradient), None


def _times(slope: Tensor | None, gradient: Tensor) -> Tensor | None:
    return None if slope is None else slope * (gradient / len(slope))
