"""Precision, recall and F1 from counts."""

from torch import Tensor


def precision_recall_f1(predicted: Tensor, truth: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Of each column: hits / predicted, hits / there, and their harmonic mean; 0 where that is 0 / 0.

    Args:
        predicted, truth: [N, K] bool, a column a class or label.
    Returns:
        {"precision", "recall", "f1"}, each [K] float64, and the columns that count in a mean over them, [K] bool: those
        with something predicted or there.
    """
    hits, chosen, there = ((mask.sum(dim=0)).double() for mask in (predicted & truth, predicted, truth))
    rates = {
        "precision": hits / chosen.clamp(min=1),
        "recall": hits / there.clamp(min=1),
        "f1": 2 * hits / (chosen + there).clamp(min=1),
    }
    return rates, chosen + there > 0
