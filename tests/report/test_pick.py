"""The winner of a grid within the table of an experiment."""

import itertools
import json

import pytest

from lilawbench.experiment.plan import plan
from lilawbench.record.identity import flatten, recorded
from lilawbench.report.report import paper_report, report
from lilawbench.support.errors import UserError

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


TUNED = """\
# @package _global_
experiment_name: tuned
table:
  pick: [train.lr]
  rows:
    CE, default step: [method=ce, train.lr=0.001]
    CE, tuned: [method=ce]
  columns: {digits: []}
hydra:
  sweeper: {params: {train.lr: "0.1,0.3", seed: "0,1"}}
"""


def planned(folder, name, content):
    (folder / "experiment").mkdir()
    (folder / "experiment" / f"{name}.yaml").write_text(content)
    return plan([f"experiment={name}"], config_dir=str(folder))


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return planned(tmp_path_factory.mktemp("conf"), "grid", EXPERIMENT)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return planned(tmp_path_factory.mktemp("conf"), "tuned", TUNED)


def finish(run, root, val, test):
    folder = root / run.cfg.experiment_name / run.folder.name
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
    assert "Picked on validation (select_by: val) for CE, digits: train.lr=0.1." in said
    assert "for LiLAW, digits: method.lr=0.01, train.lr=0.3." in said


def test_a_grid_that_has_not_begun_has_its_cells(grid, tmp_path, markdown):
    assert "| CE    | 0 of 2 |" in markdown(paper_report(grid, tmp_path))


def test_rows_that_differ_in_the_picked_key_alone_have_a_winner_each(tuned, tmp_path, words_only, markdown):
    """The fixed step beats both of the grid, and the grid's row still shows its own best."""
    val = {0.001: 0.9, 0.1: 0.5, 0.3: 0.8}
    for run in tuned.runs:
        finish(run, tmp_path, val=val[run.cfg.train.lr], test=val[run.cfg.train.lr])
    said = markdown(paper_report(tuned, tmp_path))
    assert "90.00 ± 0.00" in said and "80.00 ± 0.00" in said and "50.00 ± 0.00" not in said
    assert "for CE, tuned, digits: train.lr=0.3. Mean best_val.val_accuracy of each: train.lr=0.1: 0.5000, " in said
    assert said.count("Picked on validation") == 1


def test_a_row_with_one_setting_needs_no_validation_rows(tuned, tmp_path, words_only, markdown):
    default = [run for run in tuned.runs if run.row == "CE, default step"]
    for run in default:
        finish(run, tmp_path, val=None, test=0.9)
    said = markdown(paper_report(tuned, tmp_path))
    assert "90.00 ± 0.00" in said and "Picked" not in said
    tuned_run = next(run for run in tuned.runs if run not in default)
    finish(tuned_run, tmp_path, val=None, test=0.9)
    with pytest.raises(UserError, match="best_val.val_accuracy"):
        paper_report(tuned, tmp_path)


def test_winners_with_different_values_are_compared(write_run, tmp_path):
    """CE wins with 0.1 and LiLAW with 0.3: both are of one setting, in pairs of one seed."""
    for method, winner, test in (("ce", 0.1, 0.6), ("lilaw", 0.3, 0.7)):
        for lr in (0.1, 0.3):
            for seed in range(5):
                changes = {"config.train.lr": lr, "best_val.val_accuracy": 0.8 if lr == winner else 0.7}
                write_run(method, seed, test + 0.01 * seed if lr == winner else 0.99, changes=changes)
    said = report(tmp_path, None, selections=["best_val"], pick=["train.lr"])
    assert "lilaw is 10.00 points above ce" in said and "n = 5" in said
    assert "for ce, digits, symmetric 0.4, mlp: train.lr=0.1." in said
    assert "for lilaw, digits, symmetric 0.4, mlp: train.lr=0.3." in said


def test_a_method_is_one_row_though_its_settings_have_other_winners(write_run, tmp_path):
    for rate, winner in ((0.2, 0.1), (0.4, 0.01)):
        write_run("ce", 0, changes={"config.noise.rate": rate, "best_val.val_accuracy": 0.8})
        for lr in (0.1, 0.01):
            tried = {"config.method.lr": lr, "best_val.val_accuracy": 0.8 if lr == winner else 0.7}
            write_run("lilaw", 0, changes={"config.noise.rate": rate} | tried)
    said = report(tmp_path, None, selections=["best_val"], pick=["method.lr"])
    assert "lilaw (" not in said and "| lilaw |" in said


def test_the_note_tells_grids_apart_by_any_option(write_run, tmp_path):
    for epochs, lr in itertools.product((30, 100), (0.1, 0.3)):
        changes = {"config.train.epochs": epochs, "config.train.lr": lr, "best_val.val_accuracy": 0.5 + lr}
        write_run("ce", 0, changes=changes)
    said = report(tmp_path, None, selections=["best_val"], pick=["train.lr"])
    assert "mlp, train.epochs=30: train.lr=0.3." in said and "mlp, train.epochs=100: train.lr=0.3." in said
