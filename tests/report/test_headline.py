"""The sentence of a section, from cells made by hand."""

import pytest

from lilawbench.report.cells import Cell, Run
from lilawbench.report.compare import compare
from lilawbench.report.grid import Grid
from lilawbench.report.headline import headline
from lilawbench.report.measured import Measured

ACCURACY = Measured("test_accuracy", "best_val", "%")
CE = [0.70, 0.72, 0.74]


def said(values, measured=ACCURACY, averages=()):
    """values: of each row and column; every row is compared with ce."""
    cells = [
        Cell(
            measured,
            row,
            column,
            3,
            [Run(row, seed, value, str(seed), "", "multiclass") for seed, value in enumerate(of)],
        )
        for (row, column), of in values.items()
    ]
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*values))
    bases = {place: "ce" for place in values if place[0] != "ce"}
    grid = Grid("", rows, columns, [], None, bases, averages={name: [] for name in averages})
    compare(grid, cells)
    return headline(grid, cells)


def test_the_best_of_one_column():
    """1, 2, 3 points: 2 ± 2.484, p = .0742 * 2; focal is as ce."""
    assert said({("ce", ""): CE, ("focal", ""): CE, ("lilaw", ""): [0.71, 0.74, 0.77]}) == (
        "lilaw is 2.00 points above ce at best_val (95 % interval -0.48 to 4.48, n = 3), p = 0.1484 after Holm over 2 "
        "comparisons."
    )


def test_a_difference_below_turns_its_interval():
    less = {("ce", ""): [2.0, 2.0, 2.0], ("lilaw", ""): [1.0, 0.0, -1.0]}
    assert said(less, Measured("test_rmse", "last", "1")) == (
        "lilaw is 2.0000 below ce at last (less is better; 95 % interval -0.4841 to 4.4841, n = 3), p = 0.0742 after "
        "Holm over 1 comparison."
    )


def test_columns_are_counted_and_averages_are_none():
    """10, 10, 10.3 points in x; 1, 2, 3 points in y; 1, 1, 1.1 below in z: the seeds' means are 10/3, 11/3 and
    12.2/3, together 3.6889 with an sd of .3672: ± 4.3027 * .3672 / sqrt(3) = .912."""
    of = {"x": [0.80, 0.82, 0.843], "y": [0.71, 0.74, 0.77], "z": [0.69, 0.71, 0.729], "all": [0.9, 0.9, 0.9]}
    values = {(row, column): CE if row == "ce" else lilaw for column, lilaw in of.items() for row in ("ce", "lilaw")}
    assert said(values, averages=["all"]) == (
        "lilaw is above ce at best_val in 2 of 3 settings, by 3.69 points on average over all (95 % interval 2.78 "
        "to 4.60, n = 3); p is below 0.05 after Holm over 4 comparisons in 1 of them, and in 1 of the others."
    )


def test_a_constant_difference_has_no_interval_and_no_p():
    assert said({("ce", ""): CE, ("lilaw", ""): [0.71, 0.73, 0.75]}) == (
        "lilaw is 1.00 points above ce at best_val (all differences are equal, n = 3), no p by a t-test."
    )


@pytest.mark.parametrize(
    "values, measured",
    [
        ({("ce", ""): CE}, ACCURACY),
        ({("ce", ""): [0.7], ("lilaw", ""): [0.8]}, ACCURACY),
        ({("ce", ""): CE, ("lilaw", ""): CE}, Measured("beta", "last", "1")),
    ],
    ids=["nothing compared", "one seed", "no better"],
)
def test_without_a_test_there_is_no_sentence(values, measured):
    assert said(values, measured) == ""
