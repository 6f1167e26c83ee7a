"""Measures of one class a sample."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.metrics.ranking import auroc


def classification(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Loss (mean cross-entropy), accuracy, from six classes on top-5 accuracy, and means over classes.

    Args:
        logits: [N, K]. target: [N] int64.
    Returns:
        {"loss", "accuracy", "top5_accuracy", "auroc" (one-vs-rest), "balanced_accuracy" (mean recall of the classes in
        `target`), "precision", "recall", "f1" (means over the classes in `target` or predicted; 0 where nothing was
        predicted, or nothing is there)}; all but the loss are fractions. Classes without a yes or a no have no AUROC
        and are left out of its mean; with a single class in `target` it is not there.
    """
    out = {"loss": F.cross_entropy(logits, target).item(), "accuracy": accuracy(logits, target)}
    if logits.shape[1] > 5:
        out["top5_accuracy"] = (logits.topk(5).indices == target[:, None]).any(1).double().mean().item()
    num_classes = logits.shape[1]
    hits = torch.bincount(target * num_classes + logits.argmax(1), minlength=num_classes**2).double()
    table = hits.view(num_classes, num_classes)
    out |= macro(table.diag(), table.sum(dim=0), present := table.sum(dim=1))
    out["balanced_accuracy"] = (table.diag() / present)[present > 0].mean().item()
    if (present > 0).sum() > 1:
        out["auroc"] = auroc(logits.double().softmax(1), F.one_hot(target, num_classes)).nanmean().item()
    return out


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of the samples whose largest logit is the target's, from logits [N, K] and target [N]."""
    return (logits.argmax(1) == target).double().mean().item()


def macro(hits: Tensor, predicted: Tensor, present: Tensor) -> dict[str, float]:
    """Means over classes (or labels) of precision, recall and their harmonic mean F1.

    Args:
        hits, predicted, present: true positives, predicted positives and positives of each class, [K] float64.
    """
    counted = predicted + present > 0
    precision, recall = hits / predicted.clamp(min=1), hits / present.clamp(min=1)
    f1 = 2 * hits / (predicted + present).clamp(min=1)
    return {
        name: values[counted].mean().item()
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1))
    }
