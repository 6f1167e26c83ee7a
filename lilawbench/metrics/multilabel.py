"""Measures of several labels a sample. A label is predicted where its logit is above 0, its probability above 1/2."""

from torch import Tensor
from torch.nn import functional as F

from lilawbench.metrics.classification import macro
from lilawbench.metrics.ranking import auroc, average_precision


def multilabel(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Loss (mean binary cross-entropy), mean average precision, and means over labels.

    Args:
        logits: [N, K]. target: [N, K] int64, 0 or 1.
    Returns:
        {"loss", "mAP", "auroc", "accuracy" (share of all labels), "precision", "recall", "f1"}. A label that no sample
        (or every one) has is left out of the means that it has no value for.
    """
    predicted = logits > 0
    return {
        "loss": F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype)).item(),
        "mAP": mean_average_precision(logits, target),
        "auroc": auroc(logits, target).nanmean().item(),
        "accuracy": (predicted == target).double().mean().item(),
        **macro((predicted * target).double().sum(0), predicted.double().sum(0), target.double().sum(0)),
    }


def mean_average_precision(logits: Tensor, target: Tensor) -> float:
    """Mean over labels of the average precision, from logits and target, [N, K]."""
    return average_precision(logits, target).nanmean().item()
