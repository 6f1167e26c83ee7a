"""What becomes of runs, read from their folders: by --dry-run and by lilawbench.status."""

import json
import os
import re
import socket
import time

import pytest

from lilawbench import status
from lilawbench.experiment.plan import plan
from lilawbench.launch import slurm_queue
from lilawbench.launch.dry_run import dry_run
from lilawbench.launch.launch import _note
from lilawbench.launch.state import LAST_SWEEP, State, state_of
from lilawbench.record.identity import SCHEMA_VERSION, flatten, recorded
from lilawbench.record.writer import write_json

SEEDS = 6
COUNTS = "12 runs: 1 done, 1 running, 1 waiting, 1 failed, 1 broken off, 7 not begun"


@pytest.fixture
def planned(tmp_path):
    return plan(["method=ce,rrm", f"seed=range(0,{SEEDS})", f"paths.output_dir={tmp_path}/o", "experiment_name=x"])


def finish(run, seconds=1800.0):
    run.folder.mkdir(parents=True)
    own = {"schema_version": SCHEMA_VERSION, "seconds_total": seconds, "task": "multiclass"}
    write_json(run.folder / "result.json", own | flatten(recorded(run.cfg), "config"))


def begin(run, epoch=3):
    run.folder.mkdir(parents=True)
    (run.folder / "train.log").write_text(f"preparing\nepoch {epoch - 1}/30  loss 1\nepoch {epoch}/30  loss 0.9\n")
    (run.folder / "checkpoint.pt").write_bytes(b"")


def hold(run, pid=None, host=None, age=0.0):
    owner = {"host": host or socket.gethostname(), "pid": pid or os.getpid(), "started": 1.0}
    (run.folder / ".owner").write_text(json.dumps(owner))
    os.utime(run.folder / ".owner", (time.time() - age,) * 2)


@pytest.fixture
def mixed(planned, monkeypatch):
    """Of CE: done, running, broken off, waiting for Slurm, failed, not begun. Nothing of RRM."""
    done, running, broken, waiting, failed, _ = [run for run in planned.runs if run.cfg.method.name == "ce"]
    finish(done)
    begin(running)
    hold(running)
    begin(broken, epoch=7)
    hold(broken, age=600)
    failed.folder.mkdir()
    write_json(failed.folder / "failed.json", {"error": "the loss is nan\nat step 2"})
    (done.folder.parent / ".slurm").mkdir()
    write_json(done.folder.parent / ".slurm" / "12.json", {"12_0": [waiting.folder.name]})
    monkeypatch.setattr(
        slurm_queue, "states", lambda ids: {one: slurm_queue.State("PENDING", "Priority") for one in ids}
    )
    _note(planned)
    return planned


def test_the_state_of_a_run_is_read_from_its_folder(mixed):
    jobs = slurm_queue.queued(mixed.runs[0].folder.parent)
    assert [state_of(run.folder, jobs) for run in mixed.runs if run.cfg.method.name == "ce"] == [
        State("done"),
        State("running", f"epoch 3/30, process {os.getpid()} on {socket.gethostname()}"),
        State("broken off", "epoch 7/30, it goes on from there"),
        State("waiting", "Slurm job 12_0: pending (Priority)"),
        State("failed", "the loss is nan"),
        State("not begun"),
    ]


def test_an_owner_that_is_gone_holds_nothing(planned):
    run = planned.runs[0]
    begin(run)
    for owner, name in (
        ({"pid": 2**22 + 1}, "broken off"),
        ({"host": "elsewhere"}, "running"),
        ({"host": "elsewhere", "age": 300}, "broken off"),
    ):
        hold(run, **owner)
        assert state_of(run.folder).name == name
    requeued = slurm_queue.Queued("7", "PENDING", "BeginTime")
    assert state_of(run.folder, {run.folder.name: requeued}).name == "requeued"


def test_a_dry_run_lists_every_run_and_the_time_left(mixed, tmp_path):
    """Left: broken off and not begun of CE, half an hour each as the finished one; six of RRM, of which none has."""
    before = sorted(tmp_path.rglob("*"))
    said = dry_run(mixed)
    lines = said.splitlines()
    assert lines[0] == "done        method=ce seed=0" and "failed      method=ce seed=4: the loss is nan" in lines
    time_left = "about 1.0 h (60 min) of one process for 2 of them, unknown for the others"
    assert f"{COUNTS}; 8 to do, {time_left}" in lines
    assert lines[-1] == "nothing was run (--dry-run)" and sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_tells_what_is_refused(tmp_path):
    said = dry_run(plan(["method=ce,lilaw", "split.val_fraction=0", f"paths.output_dir={tmp_path}"]))
    assert re.search("^refused .*method=lilaw: .*split.val_fraction must be > 0$", said, re.M)
    assert "1 to do, time unknown: no run of their kind has finished" in said


def test_status_of_a_folder_says_how_to_go_on(mixed, tmp_path, capsys):
    assert status.main([str(tmp_path / "o")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"{tmp_path}/o/x: 12 runs: 1 done, 1 running, 1 waiting, 1 failed, 1 broken off, 7 not begun\n"
    )
    assert f"To go on (what is done or running is left alone): {mixed.command}\n" in said
    assert f"{mixed.command} sweep.retry_failed=true" in said and "-m method=ce,rrm" in mixed.command
    assert status.main([str(mixed.runs[0].folder)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/o/x: 1 run: 1 done\n"


def test_status_gives_a_run_of_no_sweep_its_own_command(mixed, capsys):
    """As one that was begun alone in a folder of a sweep, which that sweep's command does not do."""
    _, _, broken, _, failed, _ = [run.folder for run in mixed.runs if run.cfg.method.name == "ce"]
    place = broken.parent
    (place / LAST_SWEEP).write_text(json.dumps({"command": "the sweep", "runs": [failed.name]}))
    (broken / "config.yaml").touch()
    assert status.main([str(place)]) == 0
    said = capsys.readouterr().out
    assert f"left alone): python -m lilawbench.train --config-dir {broken}\n" in said
    assert "mended: the sweep sweep.retry_failed=true" in said
    (place / LAST_SWEEP).unlink()
    (failed / "config.yaml").touch()
    assert status.main([str(failed)]) == 0
    again = f"python -m lilawbench.train --config-dir {failed} sweep.retry_failed=true\n"
    assert capsys.readouterr().out.endswith(f"mended: {again}")


def test_status_of_an_experiment_is_of_all_its_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status.main(["digits", "seed=0"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("outputs/digits: 3 runs: 3 not begun\n") and "experiment=digits seed=0" in said


@pytest.mark.parametrize(
    "name, says",
    [
        ("no/where", "there is no folder no/where"),
        ("digitz", "did you mean digits?"),
        ("kill", "there is no folder and no experiment kill; did you mean outputs/kill?\n"),
        ("kil", "did you mean outputs/kill?\n"),
        ("ce_s0", "did you mean outputs/kill/ce_s0?\n"),
        ("0123", "; there are "),
        (".", "there is no run in or below ."),
    ],
)
def test_status_of_nothing(tmp_path, capsys, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "kill" / "ce_s0").mkdir(parents=True)
    assert status.main([name]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said) < 200


def test_status_where_nothing_was_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status.main([]) == 2 and capsys.readouterr().err == "lilawbench: there is no folder outputs\n"
