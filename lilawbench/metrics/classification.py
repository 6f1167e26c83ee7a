"""Multi-class measures from logits; the only place where observed labels meet clean ones."""

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Loss (mean cross-entropy), accuracy and, from six classes on, top-5 accuracy.

    Args:
        logits: [N, K]. target: [N] int64.
    Returns:
        {"loss", "accuracy", "top5_accuracy"}; accuracies are fractions.
    """
    out = {
        "loss": F.cross_entropy(logits, target).item(),
        "accuracy": (logits.argmax(1) == target).double().mean().item(),
    }
    if logits.shape[1] > 5:
        out["top5_accuracy"] = (logits.topk(5).indices == target[:, None]).any(1).double().mean().item()
    return out


def memorisation(logits: Tensor, observed: Tensor, clean: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    """What the model does with the corrupted training labels, from the logits of its training batches.

    Args:
        logits: [N, K]. observed, clean: [N] int64. weight: [N] or None.
    Returns:
        "train_clean_accuracy", predictions that equal the clean label; "memorised", share of the corrupted samples
        predicted as their wrong label; "recovered", share of them predicted as their clean label; with weights also
        "weight_clean" and "weight_corrupted", the mean weight of either kind. Without corrupted samples only the first.
    """
    predicted, corrupted = logits.argmax(1), observed != clean
    out = {"train_clean_accuracy": _mean(predicted == clean)}
    if corrupted.any():
        out["memorised"] = _mean(predicted[corrupted] == observed[corrupted])
        out["recovered"] = _mean(predicted[corrupted] == clean[corrupted])
    if weight is not None:
        out["weight_clean"] = _mean(weight[~corrupted])
        if corrupted.any():
            out["weight_corrupted"] = _mean(weight[corrupted])
    return out


def _mean(values: Tensor) -> float:
    return values.to(torch.float64).mean().item()
