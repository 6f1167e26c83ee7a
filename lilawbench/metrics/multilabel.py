"""Measures of several labels a sample. A label is predicted where its logit is above 0, its probability above 1/2."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def multilabel(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Loss (mean binary cross-entropy), mean average precision, and means over labels.

    Args:
        logits: [N, K]. target: [N, K] int64, 0 or 1.
    Returns:
        {"loss", "mAP", "auroc", "accuracy" (share of all labels), "precision", "recall", "f1"}. A label that no sample
        has is left out of mAP, one that no or every sample has out of auroc; without any left these are not there. One
        that is neither there nor predicted is left out of precision, recall and f1.
    """
    from torchmetrics.functional import classification as tm

    out = {"loss": F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype)).item()}
    if target.any():
        out["mAP"] = mean_average_precision(logits, target)
    scores, truth = logits.cpu().double().sigmoid(), target.cpu()
    mixed = truth.any(dim=0) & ~truth.all(dim=0)
    if mixed.any():
        out["auroc"] = column_mean(tm.binary_auroc, scores[:, mixed], truth[:, mixed])
    predicted = (logits > 0).long().cpu()
    out["accuracy"] = tm.binary_accuracy(predicted.flatten(), truth.flatten()).item()
    counted = truth.any(dim=0) | predicted.any(dim=0)
    for name, measure in (("precision", tm.binary_precision), ("recall", tm.binary_recall), ("f1", tm.binary_f1_score)):
        out[name] = column_mean(measure, predicted[:, counted], truth[:, counted]) if counted.any() else 0.0
    return out


def mean_average_precision(logits: Tensor, target: Tensor) -> float:
    """Mean over labels of the average precision, from logits and target [N, K]; NaN if no sample has a label."""
    from torchmetrics.functional.classification import binary_average_precision

    scores, truth = logits.cpu().double().sigmoid(), target.cpu()
    there = truth.any(dim=0)
    return column_mean(binary_average_precision, scores[:, there], truth[:, there])


def column_mean(measure: Callable[[Tensor, Tensor], Tensor], scores: Tensor, truth: Tensor) -> float:
    """Mean of measure(scores, truth) over the columns of two [N, K]; NaN of no columns."""
    values = [measure(*column) for column in zip(scores.unbind(1), truth.unbind(1), strict=True)]
    return torch.stack(values).mean().item() if values else math.nan
