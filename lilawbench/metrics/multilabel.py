"""Measures of several labels a sample. A label is predicted where its logit is above 0, its probability above 1/2."""

from torch import Tensor
from torch.nn import functional as F

from lilawbench.metrics.ranking import auroc, average_precision
from lilawbench.metrics.rates import precision_recall_f1
from lilawbench.metrics.scalars import mean_where, read


def multilabel(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Loss (mean binary cross-entropy), mean average precision, and means over labels.

    Args:
        logits: [N, K]. target: [N, K] int64, 0 or 1.
    Returns:
        {"loss", "mAP", "auroc", "accuracy" (share of all labels), "precision", "recall", "f1"}. A label that no sample
        has is left out of mAP, one that no or every sample has out of auroc; without any left these are not there. One
        that is neither there nor predicted is left out of precision, recall and f1.
    """
    truth, predicted, scores = target == 1, logits > 0, logits.double().sigmoid()
    there, mixed = truth.any(dim=0), truth.any(dim=0) & ~truth.all(dim=0)
    rates, counted = precision_recall_f1(predicted, truth)
    values = read(
        {
            "loss": F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype)),
            "mAP": _mean_average_precision(logits, target),
            "auroc": mean_where(auroc(scores, truth), mixed),
            "accuracy": (predicted == truth).double().mean(),
            **{name: (of_each * counted).sum() / counted.sum().clamp(min=1) for name, of_each in rates.items()},
            "there": there.sum(),
            "mixed": mixed.sum(),
        }
    )
    absent = {"mAP": not values.pop("there"), "auroc": not values.pop("mixed")}
    return {name: value for name, value in values.items() if not absent.get(name)}


def mean_average_precision(logits: Tensor, target: Tensor) -> float:
    """Mean over labels of the average precision, from logits and target [N, K]; NaN if no sample has a label."""
    return _mean_average_precision(logits, target).item()


def _mean_average_precision(logits: Tensor, target: Tensor) -> Tensor:
    truth = target == 1
    return mean_where(average_precision(logits.double().sigmoid(), truth), truth.any(dim=0))
