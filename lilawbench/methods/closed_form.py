"""LiLAW's weighted loss of classes with its derivatives in closed form: half the operations that autograd makes.

With x = (s_y, s_max) of a sample and M = [[alpha, -beta, delta], [-1, 1, -1]], the arguments of Eq. 2-4 are t = x M:

    T = (sigmoid(t_1), sigmoid(t_2), exp(-t_3^2 / 2)),    W = <c, T>
    dW/dt = c Q k,    Q = (T_1 (1 - T_1), T_2 (1 - T_2), t_3 T_3),    k = (1, 1, -1)
    dW/dx = Q (c k M)^T,    d sum(W l) / d(alpha, beta, delta) = c (1, -1, -1) sum(l s_y Q)

with factors c, 1 or 0 unless they are learned. In p = log x, which autograd takes on to the logits, dx/dp = x; and of
cross-entropy, l = -p_y, d(W l)/dp has -W beside it. Of tied maxima the one that torch.argmax finds has the slope.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SIGNS = ((1.0, -1.0, 1.0), (1.0, 1.0, -1.0), (0.0, 0.0, 1.0))  # of M's first row; k; where T is a Gaussian


class Form(NamedTuple):
    """What the formulas need of the parameters, made once for each of their values."""

    arguments: Tensor  # M, [2, 3]
    back: Tensor  # (c k M)^T, [3, 2]
    weight: Tensor  # [3, 2], T -> (W, 0)
    turn: Tensor  # (1, -1, -1)
    gaussian: Tensor  # (0, 0, 1)
    minus_half: Tensor  # []


def form(params: Tensor, factors: Tensor, signs: Tensor) -> Form:
    """Of (alpha, beta, delta), of c, and of SIGNS as a tensor."""
    first, flip, gaussian = signs.unbind()
    arguments = torch.stack((first * params, -first))
    weight = torch.stack((factors, torch.zeros_like(factors)), 1)
    return Form(arguments, (factors * flip * arguments).T, weight, first * flip, gaussian, signs.new_full((), -0.5))


def picked(logits: Tensor, target: Tensor) -> Tensor:
    """p = (log s_y, log s_max), [B, 2], of logits [B, K] and classes [B]."""
    log_probs = logits.log_softmax(1)
    return log_probs.gather(1, torch.cat((target[:, None], logits.argmax(1, keepdim=True)), 1))


def terms(x: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """T and Q, each [B, 3]."""
    t = x @ form.arguments
    gate = torch.sigmoid(t)
    bell = (t * t).mul_(form.minus_half).exp_()
    slopes = torch.lerp(torch.addcmul(gate, gate, gate, value=-1), t * bell, form.gaussian)
    return torch.lerp(gate, bell, form.gaussian), slopes


def meta_gradient(
    logits: Tensor, target: Tensor, form: Form, losses: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of mean(W l) for c = 1 with respect to (alpha, beta, delta), [3]; T [B, 3]; l [B].

    Args:
        losses: l, [B]; None: cross-entropy.
    """
    p = picked(logits, target)
    x, loss = p.exp(), -p[:, 0] if losses is None else losses
    values, slopes = terms(x, form)
    gradient = (loss * x[:, 0]) @ slopes
    return gradient.mul_(form.turn).div_(len(loss)), values, loss


class WeightedMean(torch.autograd.Function):
    """mean(W l), [], and W, [B], without a graph, of p [B, 2] from `picked` and l [B] (None: cross-entropy).

    With `detach` the gradient stops at W. There is no second derivative.
    """

    @staticmethod
    def forward(ctx, p: Tensor, losses: Tensor | None, form: Form, detach: bool) -> tuple[Tensor, Tensor]:
        x = p.exp()
        values, slopes = terms(x, form)
        both = values @ form.weight
        weight, loss = both[:, 0], p[:, 0] if losses is None else losses
        ctx.count = len(p) if losses is not None else -len(p)  # -l is at hand, of cross-entropy
        slope = None if detach else (slopes @ form.back).mul_(x)
        if losses is None:
            slope = both if detach else torch.addcmul(both, slope, loss[:, None])
        elif not detach:
            slope.mul_(loss[:, None])
        ctx.save_for_backward(slope, None if losses is None else weight)
        ctx.mark_non_differentiable(weight)
        return torch.dot(weight, loss).div_(ctx.count), weight

    @staticmethod
    def backward(ctx, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("LiLAW's loss of classes has no second derivative; (LiLAW.weights(...) * losses).mean() has")
        scale = gradient / ctx.count
        return *(None if slope is None else slope * scale for slope in ctx.saved_tensors), None, None
