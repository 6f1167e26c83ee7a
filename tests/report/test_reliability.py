"""The reliability diagram: rows of all seeds in one pool."""

import pytest

from lilawbench.report.collect import collect
from lilawbench.report.figures.reliability import plot_reliability
from lilawbench.report.repeated import with_unique_names

EMPTY = [None, None, 0]


def of(accuracy, count, **changes):
    """A run whose rows are in two of three bins."""
    before = [EMPTY, [0.5, accuracy, count], [0.9, 1.0, 10]]
    found = {"best_val.reliability": {"before": before, "after": [EMPTY, EMPTY, [0.8, accuracy, count + 10]]}}
    found |= {"best_val.test_ece": 0.25, "best_val.test_ece_calibrated": 0.125, "best_val.temperature": 1.5}
    return found | changes


def test_a_panel_has_all_rows_of_a_cell(write_run, tmp_path, unsaved):
    """10 rows of accuracy .2 and 30 of .6 are 40 of (.2 10 + .6 30) / 40 = .5."""
    write_run(seed=0, changes=of(0.2, 10))
    write_run(seed=1, changes=of(0.6, 30, **{"best_val.temperature": 2.5, "best_val.temperature_clean": 1.0}))
    write_run("lilaw", seed=0)  # from before there were diagrams
    figure = plot_reliability(with_unique_names(collect(tmp_path / "outputs")), tmp_path / "r.png")
    (panel,) = figure.axes
    _, before, after = panel.lines
    assert before.get_xydata().tolist() == [pytest.approx([0.5, 0.5]), pytest.approx([0.9, 1.0])]
    assert after.get_xydata().tolist() == [pytest.approx([0.8, (0.2 * 20 + 0.6 * 40) / 60])]
    assert [bar.get_height() for bar in panel.patches] == pytest.approx([0, 40 / 60, 20 / 60])
    assert panel.get_title(loc="left").endswith("ECE 0.250 to 0.125, T 2.00 (clean labels: 1.00)")


def test_without_validation_rows_there_is_no_after(write_run, tmp_path, unsaved):
    write_run(changes={"last.reliability": {"before": [EMPTY, [0.5, 0.25, 4]]}, "last.test_ece": 0.25})
    (panel,) = plot_reliability(with_unique_names(collect(tmp_path / "outputs")), tmp_path / "r.png").axes
    assert [line.get_label() for line in panel.lines][1:] == ["before"]
    assert panel.get_title(loc="left").endswith("ECE 0.250")


def test_nothing_is_drawn_of_runs_without_one(write_run, tmp_path):
    write_run()
    assert plot_reliability(with_unique_names(collect(tmp_path / "outputs")), tmp_path / "r.png") is None
    assert not (tmp_path / "r.png").exists()
