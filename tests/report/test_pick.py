"""The winner of a grid within the table of an experiment."""

import json

import pytest

from lilawbench.experiment.plan import plan
from lilawbench.record.identity import flatten, recorded
from lilawbench.report.report import paper_report

EXPERIMENT = """\
# @package _global_
experiment_name: grid
table:
  pick: [method.lr, train.lr]
  rows:
    CE: [method=ce]
    LiLAW: [method=lilaw, "method.lr=${case:${train.lr},{0.1:1.0},0.01}"]
  columns: {digits: []}
  baselines: {LiLAW: CE}
hydra:
  sweeper: {params: {train.lr: "0.1,0.3", seed: "0,1"}}
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "grid.yaml").write_text(EXPERIMENT)
    return plan(["experiment=grid"], config_dir=str(folder))


def finish(run, root, val, test):
    folder = root / "grid" / run.folder.name
    folder.mkdir(parents=True)
    measured = {"best_val.val_accuracy": val, "best_val.test_accuracy": test, "labels.sha256": f"of {run.seed}"}
    own = {"schema_version": 1, "run": folder.name, "task": "multiclass"}
    (folder / "result.json").write_text(json.dumps(own | flatten(recorded(run.cfg), "config") | measured))


@pytest.mark.every(2)
def test_a_tables_cells_show_their_winners(grid, tmp_path, words_only, markdown):
    """CE wins on validation with 0.1, LiLAW with 0.3, each worse on test."""
    assert len(grid.cells) == 8
    for run in grid.runs:
        wins = run.cfg.train.lr == (0.1 if run.row == "CE" else 0.3)
        finish(run, tmp_path, val=0.8 if wins else 0.7, test=0.5 + 0.1 * (run.row == "CE") if wins else 0.9)
    said = markdown(paper_report(grid, tmp_path))
    assert "| CE    |     2 |  **60.00 ± 0.00** |" in said and "| LiLAW |     2 |      50.00 ± 0.00 |" in said
    assert "Picked on validation (select_by: val) for ce, digits, symmetric 0.4: train.lr=0.1." in said
    assert "for lilaw, digits, symmetric 0.4: method.lr=0.01, train.lr=0.3." in said


def test_a_grid_that_has_not_begun_has_its_cells(grid, tmp_path, markdown):
    assert "| CE    | 0 of 2 |" in markdown(paper_report(grid, tmp_path))
