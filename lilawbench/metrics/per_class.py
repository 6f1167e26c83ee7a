"""Of each class: what it is taken for, precision, recall and F1."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lilawbench.metrics.rates import precision_recall_f1
from lilawbench.support.plain import Tree


def confusion(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Counts [K, K] int64, rows: the class of the label, columns: the predicted one; of classes [N] int64 both."""
    return torch.bincount(target * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def per_class(predicted: Tensor, truth: Tensor, names: Sequence[str]) -> list[dict[str, Tree]]:
    """A row {"class", "n" (rows of it), "precision", "recall", "f1"} for each class or label.

    Args:
        predicted, truth: [N, K] bool, a column a class or label. names: of the K columns.
    Returns:
        The rows in the order of the names; a share that is 0 / 0 is None.
    """
    rates, _ = precision_recall_f1(predicted, truth)
    sizes, chosen = truth.sum(0).tolist(), predicted.sum(0).tolist()
    columns = zip(names, sizes, chosen, *(rates[name].tolist() for name in ("precision", "recall", "f1")), strict=True)
    return [
        {
            "class": name,
            "n": size,
            "precision": precision if there else None,
            "recall": recall if size else None,
            "f1": f1 if size or there else None,
        }
        for name, size, there, precision, recall, f1 in columns
    ]
