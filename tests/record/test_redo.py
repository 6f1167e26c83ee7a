"""sweep.redo=true: the record stays until the new one is finished, whenever the command is killed."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lilawbench import pipeline
from lilawbench.experiment.plan import plan
from lilawbench.launch.dry_run import dry_run
from lilawbench.launch.launch import launch
from lilawbench.record.identity import RunRecord
from lilawbench.record.recorder import Recorder
from lilawbench.record.writer import write_json
from lilawbench.report.collect import collect
from lilawbench.support.errors import RunFailed
from lilawbench.train import attempt, run

REDO = "sweep.redo=true"
RESULT = {"schema_version": 1, "config.seed": 0, "config.method.name": "ce", "config.dataset.name": "digits"}


class PowerCut(BaseException):
    """Not an Exception: nothing in the program may catch it."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_finished_run_is_done_again_in_its_place(tiny):
    first = run(tiny())
    before = contents(first.folder)
    assert run(tiny()).status == "skipped"
    again = run(tiny(REDO))
    assert (again.status, again.folder) == ("done", first.folder) and len(collect(first.folder.parent)) == 1
    assert contents(first.folder)["result.json"] != before["result.json"]  # the time it took
    assert again.result["last.test_loss"] == first.result["last.test_loss"]
    assert again.result["run"] == first.folder.name
    assert run(tiny()).status == "skipped" and run(tiny(REDO)).status == "done"
    assert [path.name for path in (first.folder.parent / ".redo").iterdir()] == [".lock"]


def test_a_run_without_a_record_is_simply_done(tiny):
    record = run(tiny(REDO))
    assert record.status == "done" and not (record.folder.parent / ".redo").exists()


def test_killed_in_training_nothing_is_lost_and_the_same_command_goes_on(tiny, monkeypatch, caplog):
    folder = run(tiny()).folder
    before = contents(folder)
    original = Recorder.write

    def write(self, epoch, seen):
        if epoch.number == 2:
            raise PowerCut
        return original(self, epoch, seen)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", write)
        with pytest.raises(PowerCut):
            run(tiny(REDO))
    assert contents(folder) == before and len(collect(folder.parent)) == 1
    assert run(tiny()).status == "skipped"
    caplog.set_level("INFO")
    assert run(tiny(REDO)).status == "done" and "going on after epoch 1 of 3" in caplog.text
    assert contents(folder)["result.json"] != before["result.json"]


@pytest.mark.parametrize("moves", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_killed_while_the_record_is_replaced(tiny, monkeypatch, moves):
    """Before either folder is moved, and between the two."""
    folder = run(tiny()).folder
    before = contents(folder)["result.json"]
    original, done = Path.rename, []

    def rename(self, target):
        if len(done) == moves:
            raise PowerCut
        done.append(target)
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(PowerCut):
            run(tiny(REDO))
    assert run(tiny()).status == "skipped"  # which moves what is left to move
    assert contents(folder)["result.json"] != before and len(collect(folder.parent)) == 1
    assert [path.name for path in (folder.parent / ".redo").iterdir()] == [".lock"]


def test_one_that_fails_leaves_the_record(tiny, monkeypatch):
    folder = run(tiny()).folder
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", lambda *_: (_ for _ in ()).throw(RunFailed("boom")))
        with pytest.raises(RunFailed):
            run(tiny(REDO))
    assert contents(folder) == before
    with pytest.raises(RunFailed, match="failed before: boom"):
        run(tiny(REDO))
    assert run(tiny(REDO, "sweep.retry_failed=true")).status == "done"


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """sweep(...) -> statuses; what is trained is only noted, `killed_at` breaks off before a seed, `failing` fails."""
    noted, killed_at, failing = [], [], []

    def trained(cfg, here, world):
        if cfg.seed in killed_at:
            raise KeyboardInterrupt
        here.mkdir(parents=True, exist_ok=True)
        if cfg.seed in failing:
            write_json(here / "failed.json", {"error": "boom"})
            raise RunFailed("boom")
        (here / "failed.json").unlink(missing_ok=True)
        noted.append(cfg.seed)
        write_json(here / "result.json", RESULT)
        return RunRecord(here, "done")

    monkeypatch.setattr(pipeline, "train", trained)
    planned_once = functools.cache(lambda *overrides: plan([f"paths.output_dir={tmp_path}", "seed=0,1,2", *overrides]))

    def call(*overrides: str) -> tuple[list[str], list[int]]:
        noted.clear()
        planned = planned_once(*overrides)
        records = launch(planned, attempt)
        assert [record.folder for record in records] == [run.folder for run in planned.runs]
        return [record.status for record in records], list(noted)

    call.killed_at, call.failing, call.plan = killed_at, failing, planned_once
    return call


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_with_what_is_left(sweep):
    assert sweep()[1] == [0, 1, 2] and sweep()[1] == []
    assert sweep(REDO) == (["done"] * 3, [0, 1, 2])
    sweep.killed_at.append(1)
    with pytest.raises(KeyboardInterrupt):
        sweep(REDO)
    assert sweep() == (["skipped"] * 3, [])
    sweep.killed_at.clear()
    assert sweep(REDO) == (["skipped", "done", "done"], [1, 2])
    assert sweep(REDO) == (["done"] * 3, [0, 1, 2])


def test_what_a_killed_sweep_has_done_is_done_whether_it_had_a_record_or_not(sweep):
    sweep.killed_at[:] = [1]
    with pytest.raises(KeyboardInterrupt):
        sweep()  # seed 0 alone has a record
    sweep.killed_at[:] = [2]
    with pytest.raises(KeyboardInterrupt):
        sweep(REDO)
    assert "2 done, 1 not begun; 1 to do" in dry_run(sweep.plan(REDO))
    sweep.killed_at.clear()
    assert sweep(REDO) == (["skipped", "skipped", "done"], [2])
    assert "3 done; 3 to do" in dry_run(sweep.plan(REDO)) and "3 done; 0 to do" in dry_run(sweep.plan())
    assert sweep(REDO) == (["done"] * 3, [0, 1, 2])


def test_what_cannot_run_does_not_keep_the_others_from_being_done_again(sweep):
    """LiLAW needs validation rows."""
    both = ("method=ce,lilaw", "split.val_fraction=0", "seed=0,1", REDO)
    for _ in range(2):
        assert sweep(*both) == (["done", "failed", "done", "failed"], [0, 1])


def test_what_is_left_to_do_again_is_done_for_who_does_not_ask(sweep):
    assert sweep()[1] == [0, 1, 2]
    sweep.killed_at[:] = [1]
    with pytest.raises(KeyboardInterrupt):
        sweep(REDO)
    assert "3 done; 0 to do" in dry_run(sweep.plan()) and "1 done, 2 not begun; 2 to do" in dry_run(sweep.plan(REDO))


def test_a_failure_does_not_keep_the_others_from_being_done_again(sweep):
    assert sweep()[1] == [0, 1, 2]
    sweep.failing.append(1)
    assert sweep(REDO) == (["done", "failed", "done"], [0, 2])
    assert sweep() == (["skipped"] * 3, [])
    assert sweep(REDO) == (["done", "failed", "done"], [0, 2])  # all anew but the one that failed before
    sweep.failing.clear()
    assert sweep(REDO, "sweep.retry_failed=true") == (["skipped", "done", "skipped"], [1])
    assert sweep(REDO) == (["done"] * 3, [0, 1, 2])


@pytest.mark.slow
def test_joblibs_processes_do_them_again(tmp_path):
    fast = ["split.train_samples=64", "train.epochs=1", "train.batch_size=32", "model.hidden=[8]", "train.threads=1"]
    command = [sys.executable, "-m", "lilawbench.train", "-m", "seed=0,1", *fast, "launcher=joblib"]
    times = []
    for more, said in (([], "2 done, 0 skipped"), ([REDO], "2 done, 0 skipped"), ([], "0 done, 2 skipped")):
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr
        found = sorted(tmp_path.rglob("result.json"))
        times.append([json.loads(path.read_text())["seconds_total"] for path in found])
    assert times[0] != times[1] == times[2] and len(times[0]) == 2
