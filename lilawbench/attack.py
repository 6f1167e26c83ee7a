"""Fast gradient sign method: the change of given size that raises a sample's loss the most, to first order."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def fgsm(
    losses: Callable[[Tensor], Tensor],
    input: Tensor,
    eps: Sequence[float],
    sign: bool = True,
    clip: Sequence[float] | None = None,
) -> list[Tensor]:
    """x + eps sign(grad_x l) for every eps, from the same clean x, without a graph.

    Args:
        losses: inputs [B, ...] -> losses, summed before the gradient is taken.
        input: clean inputs, [B, ...]; normalised as the model sees them, and eps is in the same unit.
        eps: steps, >= 0.
        sign: False leaves the sign out, x + eps grad_x l, as RRM prints it for the test set.
        clip: [lo, hi] that the results are cut to; None: no limit.
    Returns:
        Perturbed inputs [B, ...], one per eps.
    Source: Goodfellow et al. 2015; RRM, Algorithm 2 (training) and Section 4.2.2 (test).
    """
    leaf = input.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(losses(leaf).sum(), leaf)
    direction = gradient.sign_() if sign else gradient
    moved = [torch.add(input, direction, alpha=step) for step in eps]
    return [perturbed.clamp_(*clip) for perturbed in moved] if clip is not None else moved


def check_attack(eps: float, clip: Sequence[float] | None) -> None:
    """Raises: ValueError for an eps < 0 or a clip that is not [lo, hi] with lo < hi."""
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps is {eps}; it must be >= 0")
    if clip is not None and not (isinstance(clip, Sequence) and len(clip) == 2 and clip[0] < clip[1]):
        raise ValueError(f"clip is {clip}; it must be null or [lo, hi] with lo < hi")
