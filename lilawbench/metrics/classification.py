"""Measures of one class a sample."""

from torch import Tensor
from torch.nn import functional as F

from lilawbench.metrics.multilabel import column_mean


def classification(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Loss (mean cross-entropy), accuracy, from six classes on top-5 accuracy, and means over classes.

    Args:
        logits: [N, K]. target: [N] int64.
    Returns:
        {"loss", "accuracy", "top5_accuracy", "auroc" (one-vs-rest), "balanced_accuracy" (mean recall of the classes in
        `target`), "precision", "recall", "f1" (means over the classes in `target` or predicted; 0 where nothing was
        predicted, or nothing is there)}, and with two classes those three of each ("recall_class0") and weighted by
        the classes' sizes ("weighted_recall"); all but the loss are fractions. Classes without a yes or a no have no
        AUROC and are left out of its mean; with a single class in `target` it is not there.
    """
    from torchmetrics.functional import classification as tm  # seconds, mostly matplotlib and SciPy

    num_classes = logits.shape[1]
    out = {"loss": F.cross_entropy(logits, target).item(), "accuracy": accuracy(logits, target)}
    logits, target = logits.cpu().double(), target.cpu()  # CUDA's cumulative sums are not repeatable
    if num_classes > 5:
        out["top5_accuracy"] = tm.multiclass_accuracy(logits, target, num_classes, average="micro", top_k=5).item()
    predicted, present = logits.argmax(1), target.unique()
    for name, measure in (
        ("precision", tm.multiclass_precision),
        ("recall", tm.multiclass_recall),
        ("f1", tm.multiclass_f1_score),
    ):
        out[name] = measure(predicted, target, num_classes, average="macro").item()
        if num_classes == 2:
            of_each = measure(predicted, target, num_classes, average="none").tolist()
            out |= {f"{name}_class{number}": value for number, value in enumerate(of_each)}
            out[f"weighted_{name}"] = measure(predicted, target, num_classes, average="weighted").item()
    recalls = tm.multiclass_recall(predicted, target, num_classes, average="none")
    out["balanced_accuracy"] = recalls[present].mean().item()
    if len(present) > 1:
        yes = F.one_hot(target, num_classes)[:, present]
        out["auroc"] = column_mean(tm.binary_auroc, logits.softmax(1)[:, present], yes)
    return out


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of the samples whose largest logit is the target's, from logits [N, K] and target [N]."""
    return (logits.argmax(1) == target).double().mean().item()
