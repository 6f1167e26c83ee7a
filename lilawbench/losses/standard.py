"""Each task's plain loss, and variants of cross-entropy that do not aim at noisy labels."""

from torch import Tensor
from torch.nn import functional as F

from lilawbench.tasks import fits


def ce(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, -log s_y. The baseline of every comparison.

    Args:
        logits: [B, K] float. target: [B] int64 in 0..K-1.
    Returns:
        Losses, [B] >= 0.
    """
    return F.cross_entropy(logits, target, reduction="none")


@fits("multilabel")
def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the K labels of -y log p - (1 - y) log(1 - p) with p = sigmoid(logits).

    Args:
        logits: [B, K] float. target: [B, K], 0 or 1.
    Returns:
        Losses, [B] >= 0.
    """
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none").mean(dim=1)


@fits("regression")
def squared(logits: Tensor, target: Tensor) -> Tensor:
    """Squared error of a prediction, (f - y)^2.

    Args:
        logits: f, [B, 1] float. target: y, [B] float.
    Returns:
        Losses, [B] >= 0, in the target's unit squared.
    """
    return (logits.squeeze(1) - target.to(logits.dtype)).square()


@fits("multiclass", "binary", "multilabel")
def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss, -(1 - s_y)^gamma log s_y: cross-entropy with confident samples turned down.

    With several labels a sample, the mean over labels of the same with p_t = p where y = 1, 1 - p where y = 0.

    Args:
        logits: [B, K] float. target: [B] int64, or [B, K] of 0 and 1.
        gamma: focusing exponent, >= 0; 0 is cross-entropy (or bce).
    Returns:
        Losses, [B] >= 0.
    Raises:
        ValueError: gamma < 0.
    Source: Lin et al. 2017, eq. 4 (without its class weight).
    """
    if not gamma >= 0:
        raise ValueError(f"gamma is {gamma}; it must be >= 0")
    if target.ndim == 2:
        log_p = F.logsigmoid(logits * (2 * target.to(logits.dtype) - 1))
    else:
        log_p = -F.cross_entropy(logits, target, reduction="none")
    # 1 - p without cancellation; the floor keeps the slope of x^gamma finite where p rounds to 1
    miss = -log_p.expm1()
    loss = -(miss.clamp(min=1e-12) ** gamma) * log_p
    return loss.mean(dim=1) if target.ndim == 2 else loss


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
