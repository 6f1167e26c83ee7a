"""A method's values of each training sample, compared with the clean labels that it never saw."""

from collections.abc import Callable

import torch
from torch import Tensor

from lilawbench.metrics.measure import corrupted as corrupted_rows

Values = dict[str, Tensor]
Measures = tuple[dict[str, float], dict[str, list]]  # numbers, tables

# RRM, Table 6: N u_i in quarters; the first two rows are "much more than 0" and "about 0"
WEIGHT_BINS = ("above", "kept", "to 3/4", "to 1/2", "to 1/4", "to 0")
NEAR_ZERO = 0.05  # of 1/N: a weight that counts as none


def per_sample(values: Values, observed: Tensor, clean: Tensor) -> Measures:
    """All measures that the values a method gave allow.

    Args:
        values: Method.sample_values(), each [N]. observed, clean: labels as `Source` has them.
    Returns:
        Numbers for the epoch's row, and tables for a row of their own.
    """
    numbers: dict[str, float] = {}
    tables: dict[str, list] = {}
    for name, measure in MEASURES.items():
        if name in values:
            more_numbers, more_tables = measure(values, observed, clean)
            numbers |= more_numbers
            tables |= more_tables
    return numbers, tables


def pruning(values: Values, observed: Tensor, clean: Tensor) -> Measures:
    """How well the pruned samples are the corrupted ones.

    Args:
        values: "pruned" bool, "weight" and "lowest_weight" = N p_i now and at its lowest.
    Returns:
        prune_precision, prune_recall (without pruned or corrupted samples left out); close_calls: clean samples once
        without weight that have at least 1/2 of 1/N again (RRM, F.1); pruned_for_good: clean ones that have none.
        Table weight_histogram: [2][6] counts of clean and of corrupted samples in WEIGHT_BINS (Table 6).
    """
    pruned, weight, corrupted = values["pruned"], values["weight"], corrupted_rows(observed, clean)
    numbers = {}
    if pruned.any():
        numbers["prune_precision"] = _share(corrupted[pruned])
    if corrupted.any():
        numbers["prune_recall"] = _share(pruned[corrupted])
    fell = (values["lowest_weight"] <= NEAR_ZERO) & ~corrupted
    numbers["close_calls"] = int((fell & (weight >= 0.5)).sum())
    numbers["pruned_for_good"] = int((fell & (weight <= NEAR_ZERO)).sum())
    return numbers, {"weight_histogram": [weight_histogram(weight[~corrupted]), weight_histogram(weight[corrupted])]}


def weight_histogram(weight: Tensor) -> list[int]:
    """Counts of N p_i: above 1 | 1 | down to 3/4 | to 1/2 | to 1/4 | to 0. Weights within 1e-4 of 1 are 1."""
    bounds = weight.new_tensor([0.25, 0.5, 0.75, 1 - 1e-4, 1 + 1e-4])
    counts = torch.bincount(torch.bucketize(weight, bounds, right=False), minlength=6)
    return counts.flip(0).tolist()


def correction(values: Values, observed: Tensor, clean: Tensor) -> Measures:
    """How often a corrected label is the clean one (Dynamic Loss, Figure 6), over all, corrupted and clean samples.

    Args:
        values: "corrected_label", [N] int64.
    """
    right, corrupted = values["corrected_label"] == clean, observed != clean
    numbers = {"corrected_accuracy": _share(right)}
    if corrupted.any():
        numbers["corrected_accuracy_corrupted"] = _share(right[corrupted])
    if not corrupted.all():
        numbers["corrected_accuracy_clean"] = _share(right[~corrupted])
    return numbers, {}


def meta_set(values: Values, observed: Tensor, clean: Tensor) -> Measures:
    """Whether a meta set picked from the training set is clean and balanced.

    Args:
        values: "in_meta_set", [N] bool.
    Returns:
        meta_precision: share of its observed labels that are clean; meta_balance: its smallest over its largest
        clean class. Table meta_classes: its samples per clean class.
    """
    picked = values["in_meta_set"]
    if not picked.any():
        return {}, {}
    counts = torch.bincount(clean[picked], minlength=int(torch.maximum(observed, clean).max()) + 1)
    numbers = {
        "meta_precision": _share(observed[picked] == clean[picked]),
        "meta_balance": (counts.min() / counts.max()).item(),
    }
    return numbers, {"meta_classes": counts.tolist()}


MEASURES: dict[str, Callable[[Values, Tensor, Tensor], Measures]] = {
    "pruned": pruning,
    "corrected_label": correction,
    "in_meta_set": meta_set,
}


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()
