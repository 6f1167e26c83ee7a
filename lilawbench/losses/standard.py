"""Cross-entropy and its variants that do not aim at noisy labels."""

from torch import Tensor
from torch.nn import functional as F


def ce(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, -log s_y. The baseline of every comparison.

    Args:
        logits: [B, K] float. target: [B] int64 in 0..K-1.
    Returns:
        Losses, [B] >= 0.
    """
    return F.cross_entropy(logits, target, reduction="none")


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss, -(1 - s_y)^gamma log s_y: cross-entropy with confident samples turned down.

    Args:
        logits: [B, K] float. target: [B] int64.
        gamma: focusing exponent, >= 0; 0 is cross-entropy.
    Returns:
        Losses, [B] >= 0.
    Raises:
        ValueError: gamma < 0.
    Source: Lin et al. 2017, eq. 4 (without its class weight).
    """
    if not gamma >= 0:
        raise ValueError(f"gamma is {gamma}; it must be >= 0")
    log_p = -F.cross_entropy(logits, target, reduction="none")
    # 1 - p without cancellation; the floor keeps the slope of x^gamma finite where p rounds to 1
    miss = -log_p.expm1()
    return -(miss.clamp(min=1e-12) ** gamma) * log_p


def label_smoothing(logits: Tensor, target: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy against a softened label, (1 - smoothing) (-log s_y) + smoothing mean_k(-log s_k).

    Args:
        logits: [B, K] float. target: [B] int64.
        smoothing: mass that is spread evenly over all K classes, the observed one included, in [0, 1].
    Returns:
        Losses, [B] >= 0.
    Raises:
        ValueError: smoothing outside [0, 1].
    Source: Szegedy et al. 2016, section 7 (their 0.1); against label noise, Lukasik et al. 2020.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}; it must lie in [0, 1]")
    return F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
