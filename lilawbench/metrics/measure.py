"""The measures of a task, told by the target's shape and type (tasks.py), and of the memorisation of wrong labels."""

from typing import TypeVar

import torch
from torch import Tensor

from lilawbench.metrics.classification import accuracy, classification
from lilawbench.metrics.multilabel import mean_average_precision, multilabel
from lilawbench.metrics.regression import regression, rmse

T = TypeVar("T")


def measure(logits: Tensor, target: Tensor) -> dict[str, float]:
    """All measures: see `classification`, `multilabel`, `regression`."""
    return _of_kind(target, classification, multilabel, regression)(logits, target)


def headline(logits: Tensor, target: Tensor) -> float:
    """The one that picks epochs and leads tables (`Task.measure`): accuracy, mAP or RMSE."""
    return _of_kind(target, accuracy, mean_average_precision, rmse)(logits, target)


def corrupted(observed: Tensor, clean: Tensor) -> Tensor:
    """The samples with a wrong label, [N] bool."""
    wrong = observed != clean
    return wrong.any(dim=1) if wrong.ndim == 2 else wrong


def memorisation(logits: Tensor, observed: Tensor, clean: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    """What the model does with the corrupted training labels, from the logits of its training batches.

    Args:
        logits: [N, K]. observed, clean: labels as `Source` has them. weight: [N] or None.
    Returns:
        "train_clean_accuracy", predictions that equal the clean label (of values: "train_clean_rmse"); "memorised",
        share of the corrupted labels predicted as they were observed; "recovered", share predicted as the clean one (a
        value counts as the nearer of the two); with weights also "weight_clean" and "weight_corrupted", the mean weight
        of either kind of sample. Without corrupted labels only the first.
    """
    wrong, rows = observed != clean, corrupted(observed, clean)
    if clean.is_floating_point():
        value = logits.squeeze(1)
        predicted = torch.where((value - clean).abs() <= (value - observed).abs(), clean, observed)
        out = {"train_clean_rmse": rmse(logits, clean)}
    else:
        predicted = (logits > 0).long() if clean.ndim == 2 else logits.argmax(1)
        out = {"train_clean_accuracy": _mean(predicted == clean)}
    if wrong.any():
        out["memorised"] = _mean(predicted[wrong] == observed[wrong])
        out["recovered"] = _mean(predicted[wrong] == clean[wrong])
    if weight is not None:
        out["weight_clean"] = _mean(weight[~rows])
        if wrong.any():
            out["weight_corrupted"] = _mean(weight[rows])
    return out


def _of_kind(target: Tensor, one_class: T, several_labels: T, value: T) -> T:
    return several_labels if target.ndim == 2 else value if target.is_floating_point() else one_class


def _mean(values: Tensor) -> float:
    return values.to(torch.float64).mean().item()
