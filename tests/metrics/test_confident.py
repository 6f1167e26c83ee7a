"""Confident learning on a case by hand, and beside cleanlab."""

import warnings

import pytest
import torch

from lilawbench.metrics.confident import (
    FILTERS,
    confident_class,
    confident_joint,
    estimated_wrong_confident,
    label_issues,
    probably_wrong,
    thresholds,
)

PROBS = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.9, 0.1]])
GIVEN = torch.tensor([0, 0, 0, 1, 1, 1])


def test_six_rows_by_hand():
    """Thresholds (.9 + .7 + .2)/3 = .6 and (.6 + .7 + .1)/3 = .466667.

    Classes that reach them: 0, 0, 1, 1, 1, 0. Counts by given label [[2, 1], [1, 2]], which are six rows already. So
    one label of each class is wrong: the third and the last, whose p_other - p_given are .6 and .8.
    """
    torch.testing.assert_close(thresholds(PROBS, GIVEN), torch.tensor([0.6, 1.4 / 3], dtype=torch.float64))
    assert confident_class(PROBS, GIVEN).tolist() == [0, 0, 1, 1, 1, 0]
    assert confident_joint(PROBS, GIVEN).tolist() == [[2, 1], [1, 2]]
    assert estimated_wrong_confident(PROBS, GIVEN) == 2
    for name in FILTERS:
        assert label_issues(PROBS, GIVEN, name).tolist() == [False, False, True, False, False, True]


def test_a_row_below_all_thresholds_counts_nowhere_and_a_class_without_rows_takes_none():
    probs = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.1, 0.3], [0.3, 0.6, 0.1], [0.2, 0.8, 0.0]])
    given = torch.tensor([0, 0, 1, 1])
    assert thresholds(probs, given)[2] == torch.inf
    assert confident_class(probs, given).tolist() == [0, -1, -1, 1]
    assert confident_joint(probs, given).tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]  # scaled to two rows a class
    assert estimated_wrong_confident(probs, given) == 0


@pytest.mark.slow  # cleanlab takes seconds to import
@pytest.mark.parametrize("classes, rows", [(2, 60), (3, 250), (7, 300), (7, 40)])
def test_rows_and_counts_are_those_of_cleanlab(stable, classes, rows):
    """Twenty data sets each; every fourth has no row of the last class."""
    cleanlab_count = pytest.importorskip("cleanlab.count")
    find = pytest.importorskip("cleanlab.filter").find_label_issues
    for seed in range(20):
        probs, given = made(classes, rows, seed)
        labels, numbers = given.numpy(), probs.numpy()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="May not flag all label issues")  # a class of one row
            found = find(labels, numbers, filter_by="prune_by_noise_rate", n_jobs=1)
            joint = cleanlab_count.compute_confident_joint(labels, numbers)
            how = "off_diagonal_calibrated"
            count = cleanlab_count.num_label_issues(labels, numbers, estimation_method=how)
        assert confident_joint(probs, given).tolist() == joint.tolist()
        assert estimated_wrong_confident(probs, given) == count
        assert probably_wrong(probs, given).tolist() == found.tolist()
        for name in FILTERS:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="May not flag all label issues")
                theirs = find(labels, numbers, filter_by=name, n_jobs=1)
            assert label_issues(probs, given, name).tolist() == theirs.tolist(), name
        assert 0 < found.sum() < rows


def made(classes: int, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities that favour the true class, and labels of which 30 % are drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, classes, (rows,), generator=generator)
    drawn = torch.randint(0, classes, (rows,), generator=generator)
    given = torch.where(torch.rand(rows, generator=generator) < 0.3, drawn, clean)
    if seed % 4 == 3 and classes > 2:
        given[given == classes - 1] = 0
    logits = 1.5 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(rows), clean] += 2.0
    return logits.softmax(1), given
