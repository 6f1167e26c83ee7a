"""Per-sample losses of the `loss` group: logits [B, K] and observed labels [B] in, losses [B] out.

Methods average, weight or prune them; a loss never reduces by itself.
"""

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
