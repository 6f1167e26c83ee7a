"""Which rows ProMix trains on with a label, and which label: each set a mask, so that no step waits for the device."""

import math

import torch
from torch import Tensor

from lilawbench.methods.parts.meta_set import ranks


def class_wise_small_loss(losses: Tensor, classes: Tensor, rho: float, num_classes: int) -> Tensor:
    """The ceil(rho N / K) rows of each class that have the smallest losses; one at least, all of a smaller class.

    Args:
        losses: [N]. classes: observed labels, [N] int64 in 0..K-1. rho: in [0, 1].
    Returns:
        [N] bool.
    Source: ProMix, section 3.1 (class-wise small-loss selection).
    """
    count = math.ceil(rho * len(losses) / num_classes - 1e-9)
    return ranks(losses, classes) < max(1, count)


def matched(probs: Tensor, target: Tensor, tau: float) -> Tensor:
    """Rows whose given label has more than the probability tau: [2, B] bool of probs [2, B, K], target [B] int64.

    Source: ProMix, section 3.1 (matched high-confidence selection).
    """
    return probs.gather(2, target.expand(len(probs), -1)[:, :, None])[:, :, 0] > tau


def agreed(probs: Tensor, trusted: Tensor, tau: float, share: float) -> Tensor:
    """Rows that join the trusted ones because both networks say the same class, each with more than tau.

    Args:
        probs: of both networks, [2, B, K]. trusted: rows that each has already, [2, B] bool.
        share: of the batch that a network may have in all; the most probable rows (mean of both) come first.
    Returns:
        [2, B] bool, none of them trusted.
    Source: ProMix, section 3.3 (label guessing by agreement).
    """
    score, said = probs.max(dim=2)
    fits = (said[0] == said[1]) & (score > tau).all(dim=0) & ~trusted
    room = (int(share * probs.shape[1] + 1e-9) - trusted.sum(dim=1, keepdim=True)).clamp(min=0)
    order = torch.where(fits, score.mean(dim=0), -1.0).argsort(dim=1, descending=True, stable=True)
    return fits & (order.argsort(dim=1) < room)
