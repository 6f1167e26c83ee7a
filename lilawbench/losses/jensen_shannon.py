"""Jensen-Shannon divergence between the label and predictions: between cross-entropy and mean absolute error."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def js(logits: Tensor, target: Tensor, pi: float = 0.5) -> Tensor:
    """Scaled Jensen-Shannon divergence, JS(e_y, s) / Z with weights pi, 1 - pi and Z = -(1 - pi) log(1 - pi).

    Cross-entropy for pi -> 0, 1 - s_y (half of `mae`) for pi -> 1: larger is more robust and slower to fit. Bounded.

    Args:
        logits: [B, K] float. target: [B] int64.
        pi: weight of the label, in (0, 1). The authors choose it by the true noise: from .1 to .9 on CIFAR.
    Returns:
        Losses, [B] >= 0, at most H(pi) / Z, at s_y = 0.
    Raises:
        ValueError: pi out of range.
    Source: Englesson & Azizpour 2021, section 3 (L_JS), proposition 1.
    """
    _check(pi)
    log_s = logits.log_softmax(dim=1)
    log_p = log_s.gather(1, target[:, None])[:, 0]
    miss = log_s.exp().scatter(1, target[:, None], 0.0).sum(dim=1)  # 1 - s_y without cancellation
    log_m = torch.log1p(-(1 - pi) * miss)  # of the mixture pi e_y + (1 - pi) s at y
    of_label = -pi * log_m
    of_prediction = (1 - pi) * (log_p.exp() * (log_p - log_m) - miss * math.log1p(-pi))
    return (of_label + of_prediction) / _scale(pi)


def gjs(logits: Sequence[Tensor], target: Tensor, pi: float = 0.5) -> Tensor:
    """Scaled generalised Jensen-Shannon divergence of the label (weight pi) and predictions of several views (equal).

    With one view it is `js`. With more it is `js` of their mean, plus what they disagree among themselves.

    Args:
        logits: of each view, [B, K]. target: [B] int64. pi: see `js`.
    Returns:
        Losses, [B] >= 0.
    Raises:
        ValueError: pi out of range, no view.
    Source: Englesson & Azizpour 2021, eq. 3 and L_GJS; proposition 2.
    """
    _check(pi)
    if not logits:
        raise ValueError("there is no view")
    log_s = torch.stack([z.log_softmax(dim=1) for z in logits])  # [V, B, K]
    share = (1 - pi) / len(logits)
    log_mean = log_s.logsumexp(dim=0) + math.log(share)
    at_label = log_mean.gather(1, target[:, None])
    at_label = torch.logaddexp(at_label, torch.full_like(at_label, math.log(pi)))
    log_m = log_mean.scatter(1, target[:, None], at_label)
    apart = share * (log_s.exp() * (log_s - log_m)).sum(dim=(0, 2))
    return (apart - pi * at_label[:, 0]) / _scale(pi)


def _check(pi: float) -> None:
    if not 0 < pi < 1:
        raise ValueError(f"pi is {pi}; it must lie in (0, 1)")


def _scale(pi: float) -> float:
    """Z."""
    return -(1 - pi) * math.log1p(-pi)
