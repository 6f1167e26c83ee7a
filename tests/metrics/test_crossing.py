"""Per-sample measures by hand on ten training samples."""

import pytest
import torch

from lilawbench.metrics.crossing import (
    WEIGHT_BINS,
    by_type,
    correction,
    cross,
    meta_set,
    pruning,
    selection,
    weight_histogram,
)

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
    found = cross([pruning], rrm(weight=weight), OBSERVED, CLEAN)
    assert found["weight_histogram"] == [[1, 3, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    "pruned, precision, recall",
    [((3, 6, 0, 1), 2 / 4, 2 / 3), ((3, 6, 9), 1, 1), ((0,), 0, 0), ((), None, 0)],
)
def test_precision_and_recall_of_pruning(pruned, precision, recall):
    found = cross([pruning], rrm(pruned), OBSERVED, CLEAN)
    assert found.get("prune_precision") == precision and found["prune_recall"] == pytest.approx(recall)


def test_selection_by_two_networks():
    """Of seven clean rows one is chosen by both networks and two by one, of the corrupted rows one by one: 2 of 2.5."""
    chosen = torch.tensor([1.0, 0.5, 0.5, 0.5, 0, 0, 0, 0, 0, 0])
    found = cross([selection], {"chosen": chosen}, OBSERVED, CLEAN)
    expected = {"chosen_clean": 2 / 7, "chosen_corrupted": 0.5 / 3, "chosen_precision": 0.8}
    assert found == pytest.approx(expected)
    assert "chosen_precision" not in cross([selection], {"chosen": 0 * chosen}, OBSERVED, CLEAN)


def test_close_calls_are_clean_samples_that_came_back_from_nothing():
    """Rows 0 to 2 fell to .05 of 1/N or less and are back at 1/2 or more, row 4 is on its way, rows 5 and 7 have
    nothing left; row 8 never fell so far; rows 3, 6 and 9 are corrupted."""
    weight = [1.0, 0.5, 3.0, 1.0, 0.49, 0.05, 0.0, 0.0, 1.0, 1.0]
    lowest = [0.0, 0.03, 0.05, 0.0, 0.0, 0.05, 0.0, 0.0, 0.06, 0.0]
    found = cross([pruning], rrm((), weight, lowest), OBSERVED, CLEAN)
    assert (found["close_calls"], found["pruned_for_good"]) == (3, 2)


def test_without_corrupted_samples():
    assert cross([pruning], rrm((0,)), CLEAN, CLEAN) == {
        "prune_precision": 0,
        "close_calls": 0,
        "pruned_for_good": 0,
        "weight_histogram": [[0, 10, 0, 0, 0, 0], [0] * 6],
    }
    found = cross([correction], {"corrected_label": OBSERVED}, CLEAN, CLEAN)
    assert found == {"corrected_accuracy": pytest.approx(0.7), "corrected_accuracy_clean": pytest.approx(0.7)}


def test_corrected_labels_by_hand():
    """Corrected: rows 3 and 6 (two of three corrupted); broken: row 8 (one of seven clean)."""
    corrected = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 0, 0])
    assert cross([correction], {"corrected_label": corrected}, OBSERVED, CLEAN) == {
        "corrected_accuracy": pytest.approx(8 / 10),
        "corrected_accuracy_corrupted": pytest.approx(2 / 3),
        "corrected_accuracy_clean": pytest.approx(6 / 7),
    }


def test_corrected_labels_where_every_label_is_wrong():
    found = cross([correction], {"corrected_label": CLEAN}, (CLEAN + 1) % 3, CLEAN)
    assert found == {"corrected_accuracy": 1, "corrected_accuracy_corrupted": 1}


def test_meta_set_by_hand():
    """Rows 0, 1, 3, 4 and 7: row 3 is mislabelled; clean classes 0, 0, 0, 1, 2."""
    assert cross([meta_set], {"in_meta_set": mask(0, 1, 3, 4, 7)}, OBSERVED, CLEAN) == {
        "meta_precision": pytest.approx(4 / 5),
        "meta_balance": pytest.approx(1 / 3),
        "meta_classes": [3, 1, 1],
    }


def test_a_meta_set_without_a_class_is_not_balanced():
    found = cross([meta_set], {"in_meta_set": mask(0, 4)}, OBSERVED, CLEAN)
    assert found == {"meta_precision": 1, "meta_balance": 0, "meta_classes": [1, 1, 0]}


def test_nothing_given_nothing_measured():
    assert cross([pruning, correction, meta_set], {}, OBSERVED, CLEAN) == {}
    assert cross([meta_set], {"in_meta_set": mask()}, OBSERVED, CLEAN) == {}


def test_measures_of_several_methods_stand_side_by_side():
    both = rrm((3,)) | {"corrected_label": CLEAN, "in_meta_set": mask(0, 4, 7)}
    found = cross([pruning, correction, meta_set], both, OBSERVED, CLEAN)
    assert {"prune_precision", "corrected_accuracy", "meta_balance", "weight_histogram", "meta_classes"} <= set(found)


def test_what_a_crossing_takes_is_not_crossed_by_type_and_the_rest_is():
    """`pruning` wants three values; where one is missing, each stands for itself."""
    values = rrm((3, 0)) | {"small_loss": mask(0, 1)}
    found = cross([pruning], values, OBSERVED, CLEAN)
    assert not {"pruned_precision", "weight_clean", "lowest_weight_clean"} & found.keys()
    assert (found["small_loss_precision"], found["small_loss_recall"]) == (0, 0)
    del values["lowest_weight"]
    found = cross([pruning], values, OBSERVED, CLEAN)
    assert "prune_precision" not in found and found["weight_clean"] == found["weight_corrupted"] == 1
    assert (found["pruned_precision"], found["pruned_recall"]) == (1 / 2, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    "value, expected",
    [
        (mask(3, 6, 0, 1), {"v_precision": 2 / 4, "v_recall": 2 / 3}),  # a choice: of corrupted samples
        (mask(), {"v_recall": 0}),
        (torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 0, 0]), {"v_accuracy": 8 / 10}),  # labels
        (torch.arange(10.0), {"v_clean": (45 - 18) / 7, "v_corrupted": 18 / 3}),  # numbers
    ],
    ids=["choice", "empty choice", "labels", "numbers"],
)
def test_values_are_crossed_by_their_type(value, expected):
    assert by_type("v", value, OBSERVED, CLEAN) == pytest.approx(expected)


@pytest.mark.parametrize(
    "observed, value, names",
    [
        (CLEAN, mask(0), {"v_precision"}),
        (CLEAN, torch.zeros(10), {"v_clean"}),
        ((CLEAN + 1) % 3, torch.zeros(10), {"v_corrupted"}),
    ],
)
def test_a_kind_of_sample_that_is_not_there_has_no_figure(observed, value, names):
    assert by_type("v", value, observed, CLEAN).keys() == names


def test_a_row_of_several_labels_is_corrupted_where_one_of_them_is():
    clean = torch.tensor([[0, 1], [1, 1], [0, 0]])
    observed = torch.tensor([[0, 1], [1, 0], [0, 0]])
    assert by_type("v", torch.tensor([1.0, 5.0, 3.0]), observed, clean) == {"v_clean": 2, "v_corrupted": 5}


def test_one_label_a_row_says_nothing_of_several():
    """Whole numbers are labels only where they have the shape of the labels."""
    clean = torch.tensor([[0, 1], [1, 0]])
    assert by_type("chosen", torch.tensor([3, 1]), clean, clean) == {}
    assert by_type("label", clean, clean, clean) == {"label_accuracy": 1.0}
