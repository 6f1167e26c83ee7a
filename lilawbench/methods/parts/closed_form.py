"""LiLAW's weighted loss of classes, with derivatives in closed form: half the operations of autograd.

With x = (s_y, s_max) of a sample and M = [[alpha, -beta, delta], [-1, 1, -1]], the arguments of Eq. 2-4 are t = x M:

    T = (sigmoid(t_1), sigmoid(t_2), exp(-t_3^2 / 2)),    W = <c, T>
    dW/dt = c Q k,    Q = (T_1 (1 - T_1), T_2 (1 - T_2), t_3 T_3),    k = (1, 1, -1)
    dW/dx = Q (c k M)^T,    d sum(W l) / d(alpha, beta, delta) = c (1, -1, -1) sum(l s_y Q)

with factors c, 1 or 0 unless they are learned. Autograd goes on from p = log x to the logits, and dx/dp = x; with
cross-entropy, l = -p_y, d(W l)/dp has a term -W more. Of tied maxima, the one that torch.argmax finds has the slope.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = (  # for `constants`, which takes them as a tensor
    (1.0, -1.0, 1.0),  # of M's first row
    (1.0, 1.0, -1.0),  # k
    (0.0, 0.0, 1.0),  # where T is a Gaussian
    (-0.5, -0.5, -0.5),
)


class Constants(NamedTuple):
    """What does not depend on the parameters."""

    gain: Tensor  # M = gain (alpha, beta, delta) + offset, each [2, 3]
    offset: Tensor
    weight: Tensor  # [3, 2], T -> (W, 0)
    flip: Tensor  # c k, [3]
    turn: Tensor  # (1, -1, -1)
    gaussian: Tensor
    minus_half: Tensor


class Form(NamedTuple):
    """M and c k M of some parameters, each [2, 3], and the constants."""

    arguments: Tensor
    flipped: Tensor
    constants: Constants


def constants(rows: Tensor, factors: Tensor) -> Constants:
    """From ROWS as a tensor, [4, 3], and c, [3]."""
    first, flip, gaussian, minus_half = rows.unbind()
    nothing = torch.zeros_like(first)
    gain, offset = torch.stack((first, nothing)), torch.stack((nothing, -first))
    return Constants(
        gain, offset, torch.stack((factors, nothing), 1), factors * flip, first * flip, gaussian, minus_half
    )


def form(params: Tensor, constants: Constants) -> Form:
    """From params (alpha, beta, delta), [3]."""
    arguments = torch.addcmul(constants.offset, constants.gain, params)
    return Form(arguments, arguments * constants.flip, constants)


def picked(logits: Tensor, target: Tensor) -> Tensor:
    """p = (log s_y, log s_max), [B, 2], of logits [B, K] and classes [B]."""
    places = torch.cat((target.unsqueeze(1), logits.argmax(1, keepdim=True)), 1)
    return logits.log_softmax(1).gather(1, places)


def slopes(x: Tensor, form: Form) -> tuple[Tensor, Tensor, Tensor]:
    """Q, sigmoid(t) and exp(-t^2 / 2), each [B, 3]; T is made of the last two."""
    t = x @ form.arguments
    gate, bell = torch.sigmoid(t), (t * t).mul_(form.constants.minus_half).exp_()
    return torch.addcmul(gate, gate, gate, value=-1).lerp_(t.mul_(bell), form.constants.gaussian), gate, bell


def terms(gate: Tensor, bell: Tensor, form: Form) -> Tensor:
    """T, [B, 3]; overwrites `gate`."""
    return gate.lerp_(bell, form.constants.gaussian)


def meta_gradient(
    logits: Tensor, target: Tensor, form: Form, losses: Tensor | None
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Gradient of mean(W l) for c = 1 with respect to (alpha, beta, delta), [3]; and a function for mean(T l), [3].

    Args:
        losses: l, [B]; None: cross-entropy.
    """
    p = picked(logits, target)
    x, loss = p.exp(), -p.select(1, 0) if losses is None else losses
    found, gate, bell = slopes(x, form)
    gradient = (loss * x.select(1, 0)) @ found
    return gradient.mul_(form.constants.turn).div_(len(loss)), lambda: loss @ terms(gate, bell, form) / len(loss)


class _Kept(Protocol):
    """What autograd keeps between forward and backward."""

    count: int
    saved_tensors: tuple[Tensor | None, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...
    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


class WeightedMean(torch.autograd.Function):
    """mean(W l), [], and W, [B], without a graph, from p [B, 2] of `picked` and l [B] (None: cross-entropy).

    With `detach` the gradient stops at W. There is no second derivative: asking for one is a RuntimeError.
    """

    @staticmethod
    def forward(ctx: _Kept, p: Tensor, losses: Tensor | None, form: Form, detach: bool) -> tuple[Tensor, Tensor]:
        x = p.exp()
        found, gate, bell = slopes(x, form)
        both = terms(gate, bell, form) @ form.constants.weight
        weight, loss = both.select(1, 0), p.select(1, 0) if losses is None else losses
        ctx.count = -len(p) if losses is None else len(p)  # of cross-entropy, p has -l
        slope = None if detach else F.linear(found, form.flipped).mul_(x)
        if losses is None:
            slope = both if slope is None else torch.addcmul(both, slope, loss.unsqueeze(1))
        elif slope is not None:
            slope.mul_(loss.unsqueeze(1))
        ctx.save_for_backward(slope, None if losses is None else weight)
        ctx.mark_non_differentiable(weight)
        return torch.dot(weight, loss).div_(ctx.count), weight

    @staticmethod
    def backward(ctx: _Kept, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "LiLAW's loss has no second derivative here; (LiLAW.weights(...) * losses).mean() has one"
            )
        scale = gradient / ctx.count
        return *(None if slope is None else slope * scale for slope in ctx.saved_tensors), None, None
