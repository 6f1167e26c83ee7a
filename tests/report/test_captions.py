"""What stands under a table: which true differences its cells could have seen."""

import pytest

from lilawbench.report.captions import could_see
from lilawbench.report.cells import Cell
from lilawbench.report.measured import Measured
from lilawbench.report.stats import compare_paired

ACCURACY, RMSE = Measured("test_accuracy", "last", "%"), Measured("test_rmse", "last", "1")


def cell(differences, measured=ACCURACY):
    return Cell(measured, "a", "", comparison=compare_paired(differences, [0.0] * len(differences)))


@pytest.mark.parametrize(
    "cells, begins",
    [
        ([cell([0.01, 0.02, 0.03])], "With 3 seeds this cell could have seen 3.26 points: "),
        ([cell([0.01, 0.02, 0.03]), cell([0.0, 0.04]), cell([0.01] * 3)],
         "With 2 to 3 seeds a cell could have seen 3.26 to 32.67 points: "),
        ([cell([0.01, 0.02, 0.03]), cell([1.0, 2.0, 3.0], RMSE)],
         "With 3 seeds a cell could have seen 3.26 points of test accuracy [%], 3.2640 of test rmse: "),
    ],
)  # fmt: skip
def test_what_cells_could_have_seen(cells, begins):
    """An sd of 1 point over three pairs detects 3.264, one of 2 sqrt(2) over two pairs 11.55 times that (Cohen's d)."""
    assert could_see(cells).startswith(begins)
    assert ("(each its own: detectable)" in could_see(cells)) == (len(cells) > 1)


def test_nothing_tested_or_nothing_that_varies_says_nothing():
    assert could_see([cell([0.01]), cell([0.01] * 5), Cell(ACCURACY, "b", "")]) == ""
