"""Average ranks, Friedman's and Nemenyi's tests against the worked example of Demsar 2006."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare

from lilawbench.report.cells import Cell, Run
from lilawbench.report.figures.ranks import draw_ranks
from lilawbench.report.measured import Measured
from lilawbench.report.ranks import Ranking, rank, ranking, rankings
from lilawbench.report.report import report

# AUC of C4.5, with m, with cf, with both, on 14 data sets (Demsar 2006, where .9751 is printed .975 but ranked so)
AUC = [
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
]  # fmt: skip


def test_the_worked_example():
    """Its Friedman statistic, 9.28, ignores ties: three pairs and a row of four, so it is corrected by
    1 - (3 * 6 + 60) / (14 * 60) = 0.907. Its critical difference at 5 % is 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25."""
    found = rank(pd.DataFrame(AUC, columns=["C4.5", "m", "cf", "m cf"]))
    assert found.methods == ["m cf", "m", "cf", "C4.5"]
    assert found.ranks == pytest.approx([1.964, 2.000, 2.893, 3.143], abs=5e-4)
    assert found.chi2 == pytest.approx(9.28 / (1 - 78 / 840), abs=0.01)
    assert found.p == pytest.approx(friedmanchisquare(*np.array(AUC).T).pvalue)
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(20 / 84), abs=1e-3)
    assert found.groups == [["m cf", "m", "cf", "C4.5"]]
    assert "m cf 1.96" in str(found) and "over 14 blocks" in str(found)


@pytest.mark.parametrize(
    "difference, groups",
    [(0.5, []), (1.0, ["ab", "bc"]), (1.6, ["ab", "bc", "cd"]), (2.0, ["abc", "cd"]), (9, ["abcd"])],
)
def test_groups_are_the_largest_runs_of_neighbours(difference, groups):
    ranks = np.array([1.0, 2.0, 3.0, 4.5])
    p = np.where(abs(ranks[:, None] - ranks) > difference, 0.01, 0.5)
    found = Ranking(list("abcd"), [*ranks], 9, 0.0, 1.0, difference, pd.DataFrame(p, list("abcd"), list("abcd")))
    assert found.groups == [list(group) for group in groups]


def test_nothing_but_ties_has_p_one():
    found = rank(pd.DataFrame(np.full((6, 3), 0.5), columns=list("abc")))
    assert (found.p, found.ranks) == (1.0, [2.0, 2.0, 2.0])


def test_what_cannot_be_ranked_is_refused():
    for scores in (np.ones((9, 2)), np.ones((1, 3)), np.full((9, 3), np.nan)):
        with pytest.raises(ValueError, match="ranks need 3 methods"):
            rank(pd.DataFrame(scores))


def cells(number, seeds, methods="abc"):
    """a beats b beats c in every cell and seed."""
    rows = [(f"cell {i}", m, s, -k) for i in range(number) for s in range(seeds) for k, m in enumerate(methods)]
    return pd.DataFrame(rows, columns=["cell", "method", "seed", "score"])


def test_cells_are_the_blocks_and_seeds_are_none():
    found = ranking(cells(5, 3))
    assert (found.blocks, found.unit) == (5, "cells (means over seeds)")
    assert ranking(cells(4, 9)) is ranking(cells(9, 9, "ab")) is None


def test_a_cell_counts_by_the_seeds_that_all_methods_have():
    """Cell 0 has c's first seed alone, where c is best; cell 1 lacks c."""
    frame = cells(6, 2)
    frame = frame[~((frame.cell == "cell 1") & (frame.method == "c"))]
    frame = frame[~((frame.cell == "cell 0") & (frame.method == "c") & (frame.seed == 1))]
    frame.loc[(frame.cell == "cell 0") & (frame.method == "c"), "score"] = 1.0
    found = ranking(frame)
    assert (found.blocks, found.methods) == (5, ["a", "b", "c"])
    assert found.ranks == pytest.approx([1.2, 2.2, 2.6])  # 1, 2, 3 four times and 2, 3, 1


def test_the_picture_joins_what_cannot_be_told_apart(write_run, tmp_path, monkeypatch, markdown):
    """In five cells lilaw is best, then ce, then focal; 1 and 3 differ by 2.00 > 1.48, the neighbours do not."""
    for rate in range(5):
        for method, accuracy in (("ce", 0.7), ("lilaw", 0.8), ("focal", 0.6)):
            write_run(method, 0, accuracy - 0.01 * rate, changes={"config.noise.rate": rate / 10})
    drawn = []
    monkeypatch.setattr("lilawbench.report.figures.FIGURES", {})
    monkeypatch.setattr(
        "lilawbench.report.report.draw_ranks", lambda *args: drawn.append((args[0], draw_ranks(*args))) or 1
    )
    said = markdown(report(tmp_path / "outputs", tmp_path))
    assert "\n- At last: average ranks over 5 cells (means over seeds)" in said
    [(found, figure)] = drawn
    assert list(found) == ["best_val", "last"]
    assert found["last"].critical_difference == pytest.approx(2.343 * math.sqrt(12 / 30), abs=1e-3)
    assert found["last"].groups == [["lilaw", "ce"], ["ce", "focal"]]
    bars = [line for line in figure.axes[0].lines if line.get_linewidth() == 4]
    assert [sorted(bar.get_xdata()) for bar in bars] == [[1, 2], [2, 3]]
    assert {text.get_text().strip() for text in figure.axes[0].texts} >= {"lilaw  1.00", "ce  2.00", "3.00  focal"}
    assert (tmp_path / "ranks.png").stat().st_size > 10_000


def test_the_smallest_error_is_the_best_regression(write_run, tmp_path, markdown):
    for rate in range(5):
        for method, rmse in (("squared", 3.0), ("lilaw", 1.0), ("rrm", 2.0)):
            changes = {
                "task": "regression",
                "best_val.test_rmse": rmse,
                "last.test_rmse": rmse,
                "config.noise.rate": rate / 10,
            }
            write_run(method, 0, changes=changes | {"best_val.test_accuracy": None}, epochs=[{"test_rmse": rmse}] * 2)
    said = markdown(report(tmp_path / "outputs", tmp_path / "report"))
    assert "At last: average ranks over 5 cells (means over seeds) (1 is best): lilaw" in said


def test_a_metric_without_a_rule_ranks_the_larger_better():
    """Scores of wrong labels, of a regression too."""
    measured = Measured("mislabel_auroc", "", "1")
    cells = [
        Cell(measured, row, str(column), runs=[Run(row, seed, value, "", "", "regression") for seed in range(2)])
        for column in range(5)
        for row, value in (("AUM", 0.9), ("W", 0.7), ("loss", 0.8))
    ]
    assert rankings(cells)["mislabel auroc"].methods == ["AUM", "loss", "W"]
