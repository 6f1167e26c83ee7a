"""A method's values of each training sample, compared with the clean labels that it never saw.

A crossing is a function (observed, clean, *, values...) whose keyword arguments name the values that it takes; a method
says which are meant for its own (`Method.crossings`). All other values are crossed by their type.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lilawbench.metrics.measure import corrupted as corrupted_rows

Measures = dict[str, float | int | list]  # numbers, and small tables as lists
Crossing = Callable[..., Measures]

# RRM, Table 6: N u_i in quarters; the first two rows are "much more than 0" and "about 0"
WEIGHT_BINS = ("above", "kept", "to 3/4", "to 1/2", "to 1/4", "to 0")
NEAR_ZERO = 0.05  # of 1/N: a weight that counts as none


def cross(crossings: Sequence[Crossing], values: Mapping[str, Tensor], observed: Tensor, clean: Tensor) -> Measures:
    """All measures that the values of a method allow.

    Args:
        values: Method.sample_values(), each [N]. observed, clean: labels as `Source` has them.
    """
    measures: Measures = {}
    taken: set[str] = set()
    for crossing in crossings:
        names = wanted(crossing)
        if values.keys() >= names:
            measures |= crossing(observed, clean, **{name: values[name] for name in names})
            taken |= names
    for name in (name for name in values if name not in taken):
        measures |= by_type(name, values[name], observed, clean)
    return measures


def wanted(crossing: Crossing) -> set[str]:
    """Names of the values that a crossing takes."""
    parameters = inspect.signature(crossing).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def by_type(name: str, value: Tensor, observed: Tensor, clean: Tensor) -> Measures:
    """What a value says of corrupted samples. Without samples of a kind its figure is left out.

    Of a choice, [N] bool, its precision and recall; of labels, whole numbers in the shape of the clean ones, the share
    that is clean; of numbers, [N], their mean over clean and over corrupted samples.
    """
    wrong = corrupted_rows(observed, clean)
    if value.dtype == torch.bool:
        shares = {f"{name}_precision": wrong[value], f"{name}_recall": value[wrong]}
    elif not value.is_floating_point():
        shares = {f"{name}_accuracy": value == clean} if value.shape == clean.shape else {}
    else:
        shares = {f"{name}_clean": value[~wrong], f"{name}_corrupted": value[wrong]}
    return {key: _share(found) for key, found in shares.items() if len(found)}


def pruning(observed: Tensor, clean: Tensor, *, pruned: Tensor, weight: Tensor, lowest_weight: Tensor) -> Measures:
    """How well the pruned samples are the corrupted ones.

    Args:
        pruned: [N] bool. weight, lowest_weight: N p_i now and at its lowest, [N].
    Returns:
        prune_precision, prune_recall (without pruned or corrupted samples left out); close_calls: clean samples once
        without weight that have at least 1/2 of 1/N again (RRM, F.1); pruned_for_good: clean ones that have none.
        Table weight_histogram: [2][6] counts of clean and of corrupted samples in WEIGHT_BINS (Table 6).
    """
    corrupted = corrupted_rows(observed, clean)
    numbers: Measures = {}
    if pruned.any():
        numbers["prune_precision"] = _share(corrupted[pruned])
    if corrupted.any():
        numbers["prune_recall"] = _share(pruned[corrupted])
    fell = (lowest_weight <= NEAR_ZERO) & ~corrupted
    numbers["close_calls"] = int((fell & (weight >= 0.5)).sum())
    numbers["pruned_for_good"] = int((fell & (weight <= NEAR_ZERO)).sum())
    histogram = [weight_histogram(weight[~corrupted]), weight_histogram(weight[corrupted])]
    return {**numbers, "weight_histogram": histogram}


def weight_histogram(weight: Tensor) -> list[int]:
    """Counts of N p_i: above 1 | 1 | down to 3/4 | to 1/2 | to 1/4 | to 0. Weights within 1e-4 of 1 are 1."""
    bounds = weight.new_tensor([0.25, 0.5, 0.75, 1 - 1e-4, 1 + 1e-4])
    counts = torch.bincount(torch.bucketize(weight, bounds, right=False), minlength=6)
    return counts.flip(0).tolist()


def selection(observed: Tensor, clean: Tensor, *, chosen: Tensor) -> Measures:
    """How clean the rows are that two networks trained on.

    Args:
        chosen: [N] in [0, 1], the share of the networks that did.
    Returns:
        chosen_precision: share of the choices that are of clean rows (Han et al. 2018, "label precision"; nothing
        chosen: left out); chosen_clean, chosen_corrupted: share of either kind that is chosen.
    """
    right = observed == clean
    numbers = by_type("chosen", chosen, observed, clean)
    if chosen.any():
        numbers["chosen_precision"] = (chosen[right].double().sum() / chosen.double().sum()).item()
    return numbers


def correction(observed: Tensor, clean: Tensor, *, corrected_label: Tensor) -> Measures:
    """How often a corrected label is the clean one (Dynamic Loss, Figure 6), over all, corrupted and clean samples.

    Args:
        corrected_label: [N] int64.
    """
    right, corrupted = corrected_label == clean, observed != clean
    numbers: Measures = {"corrected_accuracy": _share(right)}
    if corrupted.any():
        numbers["corrected_accuracy_corrupted"] = _share(right[corrupted])
    if not corrupted.all():
        numbers["corrected_accuracy_clean"] = _share(right[~corrupted])
    return numbers


def meta_set(observed: Tensor, clean: Tensor, *, in_meta_set: Tensor) -> Measures:
    """Whether a meta set picked from the training set is clean and balanced.

    Args:
        in_meta_set: [N] bool.
    Returns:
        meta_precision: share of its observed labels that are clean; meta_balance: its smallest over its largest
        clean class. Table meta_classes: its samples per clean class.
    """
    if not in_meta_set.any():
        return {}
    counts = torch.bincount(clean[in_meta_set], minlength=int(torch.maximum(observed, clean).max()) + 1)
    return {
        "meta_precision": _share(observed[in_meta_set] == clean[in_meta_set]),
        "meta_balance": (counts.min() / counts.max()).item(),
        "meta_classes": counts.tolist(),
    }


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()
