"""Measures of one class a sample."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.metrics.ranking import auroc_and_average_precision
from lilawbench.metrics.rates import precision_recall_f1
from lilawbench.metrics.scalars import mean_where, read


def classification(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Loss (mean cross-entropy), accuracy, from six classes on top-5 accuracy, and means over classes.

    All are taken where the logits are, and read from there once.

    Args:
        logits: [N, K]. target: [N] int64.
    Returns:
        {"loss", "accuracy", "top5_accuracy", "auroc" (one-vs-rest), "balanced_accuracy" (mean recall of the classes in
        `target`), "precision", "recall", "f1" (means over the classes in `target` or predicted; 0 where nothing was
        predicted, or nothing is there)}, and with two classes those three of each ("recall_class0") and weighted by
        the classes' sizes ("weighted_recall"); all but the loss are fractions. Classes without a yes or a no have no
        AUROC and are left out of its mean; with a single class in `target` it is not there. Nor is then
        "average_precision", the area under the precision-recall curve: with two classes that of class 1, else the mean
        over the classes in `target`, one-vs-rest.
    """
    num_classes = logits.shape[1]
    out = {"loss": F.cross_entropy(logits, target), "accuracy": _accuracy(logits, target)}
    logits = logits.double()
    if num_classes > 5:
        out["top5_accuracy"] = (logits.topk(5, dim=1).indices == target[:, None]).any(dim=1).double().mean()
    classes = torch.arange(num_classes, device=logits.device)
    truth = target[:, None] == classes
    sizes = truth.sum(dim=0)
    present = sizes > 0
    rates, counted = precision_recall_f1(logits.argmax(1)[:, None] == classes, truth)
    for name, of_each in rates.items():
        out[name] = mean_where(of_each, counted)
        if num_classes == 2:
            out |= {f"{name}_class{number}": value for number, value in enumerate(of_each)}
            out[f"weighted_{name}"] = (of_each * sizes).sum() / sizes.sum()
    out["balanced_accuracy"] = mean_where(rates["recall"], present)
    areas, precisions = auroc_and_average_precision(logits.softmax(1), truth)
    out["auroc"] = mean_where(areas, present)
    out["average_precision"] = precisions[1] if num_classes == 2 else mean_where(precisions, present)
    values = read({**out, "classes": present.sum()})
    if values.pop("classes") < 2:
        del values["auroc"], values["average_precision"]
    return values


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of the samples whose largest logit is the target's, from logits [N, K] and target [N]."""
    return _accuracy(logits, target).item()


def _accuracy(logits: Tensor, target: Tensor) -> Tensor:
    return (logits.argmax(1) == target).double().mean()
