"""The list of tables over a small folder of experiments, without data, with data, with a run done."""

import json

import pytest

from lilawbench.experiment.plan import plan
from lilawbench.record.identity import flatten
from lilawbench.report.listing import experiments, tables, title

TABLE = """\
# @package _global_
# {title}
# More of it.
{defaults}experiment_name: {folder}
table:
  paper: {paper}
  rows: {rows}
  columns: {columns}
  waiting: {waiting}
hydra:
  sweeper:
    params:
      seed: 0,1,2
      method: ce
"""
PLAIN = {"title": "A table.", "defaults": "", "folder": "toys", "paper": "null", "waiting": "{}"}
ROWS = "{CE: [method=ce], LiLAW: [method=lilaw]}"
COLUMNS = "{0 %: [noise.rate=0.0], 40 %: [noise.rate=0.4, experiment_name=shared]}"
ECG = "defaults:\n  - override /dataset: ecg5000\n"
SETS = "{A: [dataset.split=official], B: [dataset.split=swapped]}"


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """toy_here needs no data, toy_gone ECG5000 in two splits, toy_later waits; toy_plain has no table."""
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("LILAWBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LILAWBENCH_CACHE", str(tmp_path / "cache"))
    made = {
        "toy_here": {"rows": ROWS, "columns": COLUMNS},
        "toy_gone": {"rows": ROWS, "columns": SETS, "defaults": ECG, "folder": "gone"},
        "toy_later": {"rows": "{}", "columns": "{}", "paper": "rrm", "waiting": "{table: a detector}"},
        "toy_plain": {"rows": "{}", "columns": "{}"},
        "toy_here_smoke": {"rows": ROWS, "columns": COLUMNS},
    }
    for name, values in made.items():
        (tmp_path / "conf" / "experiment" / f"{name}.yaml").write_text(TABLE.format(**PLAIN | values))
    return tmp_path / "conf"


TOYS = ["toy_here", "toy_gone", "toy_later", "toy_plain"]


def test_states(conf, tmp_path):
    """2 rows x 2 columns x 3 seeds; the swept method is decided by the rows and does not multiply."""
    found = {entry.name: entry for entry in tables(tmp_path / "outputs", [conf], TOYS)}
    assert list(found) == ["toy_gone", "toy_here", "toy_later"]
    assert found["toy_here"] == ("toy_here", "A table.", 0, 12, "runnable here")
    assert found["toy_gone"][2:] == (0, 12, "data missing: ecg5000 split=official, ecg5000 split=swapped")
    assert found["toy_later"][2:] == (0, 0, "not available yet: needs a detector")
    assert not list((tmp_path / "data").rglob("*")) and not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_done_also_in_the_folder_of_another_experiment(conf, tmp_path):
    run = next(run for run in plan(["experiment=toy_here"], str(conf)).runs if run.column == "40 %")
    folder = tmp_path / "outputs" / "shared" / run.folder.name
    folder.mkdir(parents=True)
    config = flatten(run.cfg, "config")
    (folder / "result.json").write_text(json.dumps({"schema_version": 1, "run": folder.name, **config}))
    [entry] = tables(tmp_path / "outputs", [conf], ["toy_here"])
    assert (entry.done, entry.runs) == (1, 12)


def test_a_file_that_is_there_is_enough(conf, tmp_path):
    """Its content is not read: that is for the run."""
    (tmp_path / "data" / "ECG5000").mkdir()
    (tmp_path / "data" / "ECG5000" / "ECG5000_TRAIN.txt").write_text("not a heartbeat")
    [entry] = tables(tmp_path / "outputs", [conf], ["toy_gone"])
    assert entry.state == "runnable here"


def test_what_cannot_be_composed_is_said(conf, tmp_path):
    (conf / "experiment" / "toy_bad.yaml").write_text("# @package _global_\n# Bad.\ntable: {paper: x}\nnothing: 1\n")
    [entry] = tables(tmp_path / "outputs", [conf], ["toy_bad"])
    assert entry.state.startswith("broken: ") and "nothing" in entry.state


def test_every_experiment_of_ours_has_a_title():
    found = experiments()
    assert "digits" in found
    assert all(len(title(path)) > 10 for path in found.values())
