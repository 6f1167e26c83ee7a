"""Sweeps that end: whatever becomes of one run, the others are done, and the same command finishes the rest."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilawbench.experiment.plan import plan
from lilawbench.launch.launch import launch
from lilawbench.record.identity import RunRecord
from lilawbench.record.writer import write_json

FAST = ["split.train_samples=64", "train.epochs=2", "train.batch_size=32", "model.hidden=[8]", "train.threads=1"]


@pytest.fixture
def planned(tmp_path):
    return functools.cache(lambda *overrides: plan([f"paths.output_dir={tmp_path}", *FAST, *overrides]))


RESULT = {
    "schema_version": 1,
    "config.seed": 0,
    "config.method.name": "ce",
    "config.dataset.name": "digits",
    "seconds_total": 1.0,
    "peak_memory_bytes": 1,
}


class Attempts:
    """Stands for train.attempt: notes what it is asked for and does as it is told by seed."""

    def __init__(self, **fates):
        self.fates, self.seeds = fates, []

    def __call__(self, cfg):
        from lilawbench.record.identity import run_folder

        self.seeds.append(cfg.seed)
        folder, fate = run_folder(cfg), self.fates.get(f"s{cfg.seed}", "done")
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(fate, type):
            raise fate
        if fate == "done":
            write_json(folder / "result.json", RESULT)
            return RunRecord(folder, "done")
        if fate == "failed":
            write_json(folder / "failed.json", {"error": "boom"})
        return RunRecord(folder, fate, error="boom", exit_code=1)


def statuses(records):
    return [record.status for record in records]


def test_each_is_done_once_and_then_skipped(planned):
    attempts = Attempts()
    assert statuses(launch(planned("seed=0,1"), attempts)) == ["done"] * 2 and attempts.seeds == [0, 1]
    assert statuses(launch(planned("seed=0,1,2"), attempts)) == ["skipped"] * 2 + ["done"]
    assert attempts.seeds == [0, 1, 2]


def test_a_failed_run_stops_nothing_and_is_tried_again_only_when_asked(planned):
    attempts = Attempts(s1="failed")
    assert statuses(launch(planned("seed=0,1,2"), attempts)) == ["done", "failed", "done"]
    again = launch(planned("seed=0,1,2"), attempts)
    assert statuses(again) == ["skipped", "failed", "skipped"] and attempts.seeds == [0, 1, 2]
    assert again[1].error == "failed before: boom (sweep.retry_failed=true tries again)"
    assert statuses(launch(planned("seed=0,1,2", "sweep.retry_failed=true"), Attempts())) == [
        "skipped",
        "done",
        "skipped",
    ]


def test_a_run_tried_again_whose_job_returned_nothing_tells_why_it_failed(planned, monkeypatch):
    """It ended in a job beside which a worker died."""
    from lilawbench.launch import launch as launching

    launch(planned("seed=0"), Attempts(s0="failed"))
    monkeypatch.setattr(launching, "_launch", lambda *_: ([], {}))
    (record,) = launch(planned("seed=0", "sweep.retry_failed=true"), Attempts())
    assert record.error.startswith("failed before: boom")


def test_a_damaged_result_is_that_runs_fault_alone(planned):
    runs = planned("seed=0,1")
    runs.runs[0].folder.mkdir(parents=True)
    (runs.runs[0].folder / "result.json").write_text("{torn")
    records = launch(runs, Attempts())
    assert statuses(records) == ["failed", "done"] and "is not JSON" in records[0].error


@pytest.mark.slow
def test_it_can_stop_at_the_first_failure(planned, caplog):
    attempts = Attempts(s1="failed")
    records = launch(planned("seed=0,1,2,3", "sweep.stop_on_failure=true"), attempts)
    assert statuses(records) == ["done", "failed", "failed", "failed"] and attempts.seeds == [0, 1]
    assert records[2].error == "interrupted, or not started"
    assert statuses(launch(planned("seed=0,2,3"), Attempts())) == ["skipped", "done", "done"]


@pytest.mark.slow
def test_a_run_that_another_process_does_is_asked_for_again_at_the_end(planned):
    attempts = Attempts(s0="busy")
    assert statuses(launch(planned("seed=0,1"), attempts)) == ["busy", "done"] and attempts.seeds == [0, 1, 0]


def test_on_a_cluster_it_waits_until_a_dead_hosts_lock_has_aged(planned, monkeypatch):
    from lilawbench.launch import jobs
    from lilawbench.record.lock import FRESH_SECONDS

    slept, attempts = [], Attempts(s0="busy")
    monkeypatch.setattr(jobs.time, "sleep", slept.append)
    run = planned("seed=0,1", "launcher.name=slurm")
    task = jobs.Jobs.write([run.runs], run.runs[0].folder.parent / ".sweep", attempts)
    cfg = run.runs[0].cfg
    cfg.sweep.job = 0
    assert statuses(task(cfg)) == ["done", "busy"]
    assert attempts.seeds == [0, 1, 0, 0] and slept == [FRESH_SECONDS]


def test_a_job_refuses_a_run_that_has_another_name_than_when_it_was_planned(planned, monkeypatch):
    """The source of a part was edited while the job waited in its queue."""
    from lilawbench.launch import jobs

    attempts, run = Attempts(), planned("seed=0,1")
    task = jobs.Jobs.write([run.runs], run.runs[0].folder.parent / ".sweep", attempts)
    real = jobs.run_folder
    monkeypatch.setattr(jobs, "run_folder", lambda cfg: real(cfg).with_suffix(".x") if cfg.seed == 1 else real(cfg))
    cfg = run.runs[0].cfg
    cfg.sweep.job = 0
    records = task(cfg)
    assert statuses(records) == ["done", "failed"] and [record.folder for record in records] == [
        each.folder for each in run.runs
    ]
    assert "have changed since the sweep was planned" in records[1].error and attempts.seeds == [0]


def test_two_equal_commands_have_a_file_of_jobs_each(planned):
    """The first to end would take the other's file, and the second to start its stop mark."""
    from lilawbench.launch.jobs import Jobs

    run = planned("seed=0,1")
    place = run.runs[0].folder.parent / ".sweep"
    first = Jobs.write([run.runs], place, Attempts())
    first.stop_mark.touch()
    second = Jobs.write([run.runs], place, Attempts())
    second.remove()
    assert first.path.exists() and first.stop_mark.exists()
    first.remove()
    assert list(place.iterdir()) == []


def test_a_killed_commands_file_of_jobs_is_removed_unless_a_cluster_reads_it(planned, monkeypatch):
    from lilawbench.launch import jobs

    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    run = planned("seed=0,1")
    place = run.runs[0].folder.parent / ".sweep"
    with monkeypatch.context() as killed:
        killed.setattr(jobs.os, "getpid", lambda: ended.pid)
        left, read = (jobs.Jobs.write([run.runs], place, Attempts()).path for _ in range(2))
        left.with_suffix(".stop").touch()
    jobs.ledger_of(read).parent.mkdir()
    write_json(jobs.ledger_of(read), {"12_0": []})
    elsewhere, old = (place / f"elsewhere-{ended.pid}-{number}.json" for number in ("0000000a", "0000000b"))
    elsewhere.touch()
    old.touch()
    os.utime(old, (0, 0))
    own = jobs.Jobs.write([run.runs], place, Attempts()).path
    assert set(place.iterdir()) == {read, elsewhere, own}


def test_what_cannot_run_is_refused_before_anything_is_launched(planned):
    attempts = Attempts()
    records = launch(planned("seed=0,1", "method=ce,lilaw", "split.val_fraction=0"), attempts)
    assert sorted(statuses(records)) == ["done", "done", "failed", "failed"] and len(attempts.seeds) == 2
    refused = [record for record in records if record.status == "failed"]
    assert all(r.exit_code == 2 and "split.val_fraction must be > 0" in r.error for r in refused)


@pytest.mark.slow
def test_an_interrupted_sweep_leaves_no_jobs_file_and_goes_on(planned, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        launch(planned("seed=0,1,2"), Attempts(s1=KeyboardInterrupt))
    assert list(tmp_path.rglob(".sweep/*")) == []
    assert statuses(launch(planned("seed=0,1,2"), Attempts())) == ["skipped", "done", "done"]


def call(folder, *overrides):
    command = [sys.executable, "-m", "lilawbench.train", *FAST, *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_joblib_does_the_same_runs_and_one_failure_hides_none(tmp_path):
    overrides = ["-m", "method=ce,lilaw", "seed=0,1", "train.lr=0.001,1e30", "train.optimizer=sgd"]
    many = call(tmp_path, *overrides, "launcher=joblib", "launcher.processes=2", "paths.output_dir=many")
    assert many.returncode == 1 and "4 done, 0 skipped, 4 failed" in many.stdout, many.stderr
    failed = {path.parent for path in (tmp_path / "many").rglob("failed.json")}
    summary = many.stdout[many.stdout.index("\n4 done, ") :]  # a line a fault, which is a line a method, and its runs
    assert summary.count("\nfailed, 2 runs alike: the loss is ") == summary.count("\n  its log: many/default/") == 2
    assert len(failed) == 4 and all(f"\n  {path.relative_to(tmp_path)}" in summary for path in failed)
    call(tmp_path, *overrides, "paths.output_dir=one")
    results = [
        {path.parent.name: json.loads(path.read_text())["last.test_accuracy"] for path in folder.rglob("result.json")}
        for folder in (tmp_path / "many", tmp_path / "one")
    ]
    assert results[0] == results[1] and len(results[0]) == 4
    again = call(tmp_path, *overrides, "launcher=joblib", "paths.output_dir=many")
    assert again.returncode == 1 and "0 done, 4 skipped, 4 failed" in again.stdout


def with_killer(folder, when, *overrides):
    """A sweep whose runs kill their process under a condition, as the kernel does when memory ends."""
    (folder / "killer.py").write_text(
        "import os, signal\nfrom pathlib import Path\nfrom lilawbench.train import attempt as real\n"
        f"def attempt(cfg):\n    mark = Path('killed')\n    if {when}:\n"
        "        mark.touch()\n        os.kill(os.getpid(), signal.SIGKILL)\n    return real(cfg)\n"
    )
    code = (
        "from killer import attempt\n"
        "from lilawbench.launch.launch import launch\nfrom lilawbench.experiment.plan import plan\n"
        f"p = plan({[*FAST, 'launcher=joblib', *overrides]!r})\n"
        "print([r.status for r in launch(p, attempt)])\n"
    )
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": path})  # fmt: skip


@pytest.mark.slow
def test_a_worker_that_dies_takes_nobody_with_it(tmp_path):
    """Where one death was an accident, all runs are done by fewer processes."""
    done = with_killer(tmp_path, "cfg.seed == 1 and not mark.exists()", "seed=0,1,2,3", "launcher.processes=2")
    assert done.stdout.strip() == "['done', 'done', 'done', 'done']", done.stderr
    assert "a worker process died, perhaps out of memory: going on with 1" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("processes, seeds", [(2, 3), (1, 2), (2, 1)])
def test_a_run_that_always_kills_its_process_fails_alone(tmp_path, processes, seeds):
    """Also where one process was asked for, and where one run is left: the command outlives it."""
    asked = f"seed={','.join(map(str, range(seeds)))}", f"launcher.processes={processes}"
    ended = with_killer(tmp_path, "cfg.seed == 0", *asked)
    assert ended.stdout.strip() == str(["failed", *["done"] * (seeds - 1)]), ended.stderr
    (marked,) = tmp_path.rglob("failed.json")
    error = "its process died (SIGKILL(-9)), perhaps out of memory: lower train.batch_size"
    assert json.loads(marked.read_text()) == {"error": error}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "joblib"])
def test_control_c_leaves_a_sweep_that_the_same_command_finishes(tmp_path, launcher):
    overrides = ["-m", "seed=0,1,2,3", "train.epochs=200", f"launcher={launcher}"]
    process = subprocess.Popen([sys.executable, "-m", "lilawbench.train", *FAST, *overrides], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; the same command continues" in said
    assert "Traceback" not in said, said
    done = call(tmp_path, *overrides)
    assert done.returncode == 0 and "0 failed" in done.stdout and len(list(tmp_path.rglob("result.json"))) == 4


def children_of(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "start, more",
    [
        (["-m", "lilawbench.train", "-m"], ["seed=0,1", "launcher=joblib", "launcher.processes=2"]),
        (["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "lilawbench.train"], []),
    ],
    ids=["joblib", "torchrun"],
)
def test_the_processes_of_a_killed_command_end_with_it(tmp_path, start, more):
    command = [sys.executable, *start, *FAST, "train.epochs=100000", *more]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: len(list(tmp_path.rglob("checkpoint.pt"))) == (2 if more else 1))
        children = children_of(process.pid)
        assert len(children) >= 2
        process.kill()
    until(lambda: not any(map(is_alive, children)), seconds=20)
