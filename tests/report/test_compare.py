"""The best of each column, and which methods no test tells from it."""

import math

import pytest

from lilawbench.report.cells import Cell, Run
from lilawbench.report.compare import mark_best
from lilawbench.report.measured import Measured

ACCURACY = Measured("test_accuracy", "last", "%")


def cell(row, values, measured=ACCURACY, column="", labels="labels"):
    runs = [
        Run(row, seed, value, f"{labels} {seed}", f"{row}{seed}", "multiclass") for seed, value in enumerate(values)
    ]
    return Cell(measured, row, column, len(runs), runs)


def test_two_of_three_are_told_apart():
    """The best is .9. b is lower by 1, 2, 3 points: p = 1 - sqrt(12/14) = .0742; c by 20, 21, 22: t = 21 sqrt(3) and
    p = 1 - t / sqrt(2 + t^2) = .00075, times 2 by Holm."""
    a, b, c = marked = [cell("a", [0.9] * 3), cell("b", [0.89, 0.88, 0.87]), cell("c", [0.7, 0.69, 0.68])]
    mark_best(marked)
    assert [one.best for one in marked] == [True, False, False]
    assert [one.level for one in marked] == [False, True, False]
    t = 21 * math.sqrt(3)
    expected = [1 - math.sqrt(12 / 14), 2 * (1 - t / math.sqrt(2 + t * t))]
    assert a.p_best_holm is None and [b.p_best_holm, c.p_best_holm] == pytest.approx(expected)


def test_less_loss_is_better_and_each_column_has_its_own_holm():
    """p of b is .0742 in each of two columns, and nothing else is tested in either."""
    measured = Measured("test_rmse", "last", "1")
    marked = [cell(row, values, measured, column) for column in "xy" for row, values in
              (("a", [1.0, 1.0, 1.0]), ("b", [2.0, 3.0, 4.0]))]  # fmt: skip
    mark_best(marked)
    assert [one.best for one in marked] == [True, False, True, False]
    assert marked[1].p_best_holm == marked[3].p_best_holm == pytest.approx(1 - math.sqrt(12 / 14))


def test_holm_over_the_rows_of_a_column_by_hand():
    """Below the best by 1, 2, 3 points (p = .0742), 6, 7, 8 (t = 7 sqrt(3), p = .00674) and 2, 3, 4 (t = 3 sqrt(3),
    p = .0351): times 1, 3 and 2, so that the last is level with the best after Holm alone."""
    marked = [cell("a", [0.9] * 3), cell("b", [0.89, 0.88, 0.87]), cell("c", [0.84, 0.83, 0.82]),
              cell("d", [0.88, 0.87, 0.86])]  # fmt: skip
    mark_best(marked)
    p = [1 - t / math.sqrt(2 + t * t) for t in (2 * math.sqrt(3), 7 * math.sqrt(3), 3 * math.sqrt(3))]
    assert [one.p_best_holm for one in marked[1:]] == pytest.approx([p[0], 3 * p[1], 2 * p[2]])
    assert p[2] < 0.05 and [one.bold for one in marked] == [True, True, False, True]
    assert marked[1].to_best.difference == pytest.approx(-0.02)
    assert marked[1].to_best.ci == pytest.approx((-0.02 - 0.04302653 / math.sqrt(3), -0.02 + 0.04302653 / math.sqrt(3)))


def test_a_row_that_is_always_as_far_below_is_not_tested():
    marked = [cell("a", [0.9] * 3), cell("b", [0.89] * 3), cell("c", [0.89, 0.88, 0.87])]
    mark_best(marked)
    assert [(one.p_best_holm, one.bold) for one in marked[:2]] == [(None, True), (None, False)]
    assert marked[2].p_best_holm == pytest.approx(1 - math.sqrt(12 / 14))


def test_equal_means_are_both_best():
    marked = [cell("a", [0.3 - 0.1, 0.2]), cell("b", [0.2, 0.2])]
    mark_best(marked)
    assert all(one.best and not one.level for one in marked)


def test_one_seed_has_a_best_and_no_test():
    marked = [cell("a", [0.3]), cell("b", [0.2])]
    mark_best(marked)
    assert [(one.best, one.level, one.p_best_holm) for one in marked] == [(True, False, None), (False, False, None)]


def test_rows_of_other_labels_have_a_best_of_their_own():
    marked = [cell("a", [0.9, 0.9]), cell("b", [0.5, 0.5], labels="others"), cell("c", [0.4, 0.4], labels="others")]
    mark_best(marked)
    assert [one.best for one in marked] == [False, True, False]


@pytest.mark.parametrize(
    "metric, better",
    [("test_accuracy", 1), ("test_mAP", 1), ("test_auroc.group=Loss", 1), ("test_f1_class1", 1), ("test_ece_mass", -1),
     ("test_loss", -1), ("test_nll_calibrated", -1), ("memorised", -1), ("fairness.DP.sex=Female", 0), ("beta", 0)],
)  # fmt: skip
def test_which_way_is_better(metric, better):
    marked = [cell("a", [0.3], measured := Measured(metric, "last", "1")), cell("b", [0.2], measured)]
    mark_best(marked)
    assert measured.better == better
    assert [one.best for one in marked] == [better > 0, better < 0]
