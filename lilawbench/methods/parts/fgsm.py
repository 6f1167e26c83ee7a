"""Fast gradient sign method: the change of a given size that raises a sample's loss most, to first order."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SPACES = ("input", "unit")


class Pixels(NamedTuple):
    """How images enter a model: (pixel - mean) / std, with pixels in [0, 1]."""

    mean: Tensor  # [C, 1, 1]
    std: Tensor  # [C, 1, 1]


def fgsm(
    losses: Callable[[Tensor], Tensor],
    input: Tensor,
    eps: Sequence[float],
    sign: bool = True,
    clip: Sequence[float] | None = None,
    pixels: Pixels | None = None,
) -> list[Tensor]:
    """x + eps sign(grad_x l) for every eps, from the same clean x, without a graph.

    Args:
        losses: inputs [B, ...] -> losses, summed before the gradient is taken.
        input: clean inputs, [B, ...]; normalised as the model sees them.
        eps: steps, >= 0.
        sign: False leaves the sign out, x + eps grad_x l, as RRM prints it for the test set.
        clip: [lo, hi] that the results are cut to; None: no limit, with `pixels` 0 and 1.
        pixels: x, eps, clip and the gradient are those of pixels in [0, 1]; None: of the model's input.
    Returns:
        Perturbed inputs [B, ...], one per eps.
    Source: Goodfellow et al. 2015; RRM, Algorithm 2 (training) and Section 4.2.2 (test).
    """
    leaf = input.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(losses(leaf).sum(), leaf)
    direction = gradient.sign_() if sign else gradient
    limits: Sequence[float] | Sequence[Tensor] | None = clip
    if pixels is not None:  # d loss / d pixel is the gradient / std, and a pixel's step moves the input by step / std
        direction = direction / (pixels.std if sign else pixels.std.square())
        limits = [(limit - pixels.mean) / pixels.std for limit in clip or (0, 1)]
    moved = [torch.add(input, direction, alpha=step) for step in eps]
    return [perturbed.clamp_(*limits) for perturbed in moved] if limits is not None else moved


def check_attack(eps: float, clip: Sequence[float] | None, space: str = "input") -> None:
    """Raises: ValueError for an eps < 0, a clip that is not [lo, hi] with lo < hi, or an unknown space."""
    if space not in SPACES:
        raise ValueError(f"space is {space!r}; it must be input or unit")
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps is {eps}; it must be >= 0")
    if clip is not None and not (isinstance(clip, Sequence) and len(clip) == 2 and clip[0] < clip[1]):
        raise ValueError(f"clip is {clip}; it must be null or [lo, hi] with lo < hi")
