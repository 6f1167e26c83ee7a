"""Per-sample measures by hand on ten training samples."""

import pytest
import torch
from lilawbench.metrics.per_sample import WEIGHT_BINS, per_sample, weight_histogram

CLEAN = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
OBSERVED = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 0])  # rows 3, 6 and 9 are corrupted


def mask(*rows):
    return torch.isin(torch.arange(10), torch.tensor(rows, dtype=torch.int64))


def rrm(pruned=(), weight=None, lowest=None):
    ones = torch.ones(10)
    weight = ones if weight is None else torch.tensor(weight)
    return {
        "pruned": mask(*pruned),
        "weight": weight,
        "lowest_weight": torch.minimum(weight, ones) if lowest is None else torch.tensor(lowest),
    }


@pytest.mark.parametrize(
    "weight, name",
    [
        (9.0, "above"), (1.001, "above"), (1.0 + 5e-5, "kept"), (1.0, "kept"), (1.0 - 5e-5, "kept"),
        (0.999, "to 3/4"), (0.7501, "to 3/4"), (0.75, "to 1/2"), (0.5001, "to 1/2"), (0.5, "to 1/4"),
        (0.2501, "to 1/4"), (0.25, "to 0"), (1e-9, "to 0"), (0.0, "to 0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bin_holds_its_upper_end(weight, name, dtype):
    """As in Table 6, where u = -1.04e-5 = -1/2N, half a weight, is in (-1.56, -1.04] 1e-5."""
    counts = weight_histogram(torch.tensor([weight], dtype=dtype))
    assert dict(zip(WEIGHT_BINS, counts, strict=True)) == {other: int(other == name) for other in WEIGHT_BINS}


def test_histogram_counts_clean_and_corrupted_samples_apart():
    weight = [2.0, 1.0, 1.0, 0.0, 0.9, 0.6, 0.3, 0.1, 1.0, 1.0]
    _, tables = per_sample(rrm(weight=weight), OBSERVED, CLEAN)
    assert tables == {"weight_histogram": [[1, 3, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1]]}


@pytest.mark.parametrize(
    "pruned, precision, recall",
    [((3, 6, 0, 1), 2 / 4, 2 / 3), ((3, 6, 9), 1, 1), ((0,), 0, 0), ((), None, 0)],
)
def test_precision_and_recall_of_pruning(pruned, precision, recall):
    numbers, _ = per_sample(rrm(pruned), OBSERVED, CLEAN)
    assert numbers.get("prune_precision") == precision and numbers["prune_recall"] == pytest.approx(recall)


def test_close_calls_are_clean_samples_that_came_back_from_nothing():
    """Rows 0 to 2 fell to .05 of 1/N or less and are back at 1/2 or more, row 4 is on its way, rows 5 and 7 have
    nothing left; row 8 never fell so far; rows 3, 6 and 9 are corrupted."""
    weight = [1.0, 0.5, 3.0, 1.0, 0.49, 0.05, 0.0, 0.0, 1.0, 1.0]
    lowest = [0.0, 0.03, 0.05, 0.0, 0.0, 0.05, 0.0, 0.0, 0.06, 0.0]
    numbers, _ = per_sample(rrm((), weight, lowest), OBSERVED, CLEAN)
    assert (numbers["close_calls"], numbers["pruned_for_good"]) == (3, 2)


def test_without_corrupted_samples():
    numbers, tables = per_sample(rrm((0,)), CLEAN, CLEAN)
    assert numbers == {"prune_precision": 0, "close_calls": 0, "pruned_for_good": 0}
    assert tables["weight_histogram"] == [[0, 10, 0, 0, 0, 0], [0] * 6]
    numbers, _ = per_sample({"corrected_label": OBSERVED}, CLEAN, CLEAN)
    assert numbers == {"corrected_accuracy": pytest.approx(0.7), "corrected_accuracy_clean": pytest.approx(0.7)}


def test_corrected_labels_by_hand():
    """Corrected: rows 3 and 6 (two of three corrupted); broken: row 8 (one of seven clean)."""
    corrected = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 0, 0])
    numbers, tables = per_sample({"corrected_label": corrected}, OBSERVED, CLEAN)
    assert tables == {} and numbers == {
        "corrected_accuracy": pytest.approx(8 / 10),
        "corrected_accuracy_corrupted": pytest.approx(2 / 3),
        "corrected_accuracy_clean": pytest.approx(6 / 7),
    }


def test_corrected_labels_where_every_label_is_wrong():
    numbers, _ = per_sample({"corrected_label": CLEAN}, (CLEAN + 1) % 3, CLEAN)
    assert numbers == {"corrected_accuracy": 1, "corrected_accuracy_corrupted": 1}


def test_meta_set_by_hand():
    """Rows 0, 1, 3, 4 and 7: row 3 is mislabelled; clean classes 0, 0, 0, 1, 2."""
    numbers, tables = per_sample({"in_meta_set": mask(0, 1, 3, 4, 7)}, OBSERVED, CLEAN)
    assert numbers == {"meta_precision": pytest.approx(4 / 5), "meta_balance": pytest.approx(1 / 3)}
    assert tables == {"meta_classes": [3, 1, 1]}


def test_a_meta_set_without_a_class_is_not_balanced():
    numbers, tables = per_sample({"in_meta_set": mask(0, 4)}, OBSERVED, CLEAN)
    assert numbers == {"meta_precision": 1, "meta_balance": 0} and tables == {"meta_classes": [1, 1, 0]}


def test_nothing_given_nothing_measured():
    assert per_sample({}, OBSERVED, CLEAN) == ({}, {})
    assert per_sample({"in_meta_set": mask()}, OBSERVED, CLEAN) == ({}, {})
    assert per_sample({"another": torch.zeros(10)}, OBSERVED, CLEAN) == ({}, {})


def test_measures_of_several_methods_stand_side_by_side():
    both = rrm((3,)) | {"corrected_label": CLEAN, "in_meta_set": mask(0, 4, 7)}
    numbers, tables = per_sample(both, OBSERVED, CLEAN)
    assert {"prune_precision", "corrected_accuracy", "meta_balance"} <= set(numbers)
    assert set(tables) == {"weight_histogram", "meta_classes"}
