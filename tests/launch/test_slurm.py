"""A sweep on a real Slurm: one node of this machine, started for these tests (scripts/slurm/test_cluster)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import lilawbench
from lilawbench.experiment.plan import plan
from lilawbench.launch import launch as launching
from lilawbench.launch import slurm_queue
from lilawbench.launch.slurm import without_job_variables
from lilawbench.record.identity import RunRecord
from lilawbench.support.errors import UserError
from lilawbench.train import attempt, run

pytestmark = pytest.mark.slow
CLUSTER = Path(lilawbench.__file__).parents[1] / "scripts" / "slurm" / "test_cluster"
DIGITS = ["dataset=digits", "model=mlp", "train.epochs=2", "train.threads=1"]
LONG = [*DIGITS, "train.epochs=150"]
EARLIER: set[str] = set()
SLURM = ["launcher=slurm", "launcher.cpus=1", "launcher.mem_gb=1", "experiment_name=x"]


@pytest.fixture(scope="module")
def cluster():
    """SLURM_CONF of a cluster that is up."""
    state = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # the path of a socket must be short
    started = subprocess.run([CLUSTER, "start", state], capture_output=True, text=True, timeout=60)
    if started.returncode == 3:
        pytest.skip(f"no Slurm to test with: {started.stderr.strip()}")
    assert started.returncode == 0, started.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", started.stdout.strip())
        yield started.stdout.strip()
        subprocess.run([CLUSTER, "stop", state], check=True, timeout=60)
    shutil.rmtree(state)


@pytest.fixture
def here(cluster, tmp_path, monkeypatch):
    """An empty folder to start sweeps in; no job outlives its test."""
    monkeypatch.chdir(tmp_path)
    EARLIER.update(jobs())
    yield tmp_path
    subprocess.run(["scancel", f"--user={os.getuid()}"], check=True)
    wait_for(lambda: not subprocess.check_output(["squeue", "--noheader"]))


def sweep(*overrides: str) -> list[RunRecord]:
    return launching.launch(plan([*SLURM, *overrides]), attempt)


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def meanwhile(action: Callable[[], None]) -> threading.Thread:
    """Does something to the jobs of a sweep that this test waits for."""
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def jobs() -> dict[str, str]:
    """State of this test's jobs by id, newest first; Slurm remembers those of other tests for some minutes."""
    lines = subprocess.check_output(["squeue", "-h", "-r", "-t", "all", "-S-i", "-o", "%i %T"], text=True).splitlines()
    return {job: state for job, state in map(str.split, lines) if job not in EARLIER}


def epochs_of(folder: Path) -> list[int]:
    lines = (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").exists() else []
    return [row["epoch"] for row in map(json.loads, lines) if row["kind"] == "epoch"]


def rows_of(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def times_resumed(folder: Path) -> int:
    return (folder / "train.log").read_text().count("going on after epoch")


def statuses(records: list[RunRecord]) -> Counter:
    return Counter(record.status for record in records)


def test_an_array_with_failing_runs_and_a_cancelled_job(here, caplog):
    """12 runs in 12 jobs: six overflow, one job is cancelled while it waits. The same command does that one alone."""
    asked = ["seed=0,1,2,3,4,5", "train.lr=0.001,1e30", *DIGITS]

    def cancel_the_last():
        wait_for(lambda: "RUNNING" in jobs().values())
        subprocess.run(["scancel", next(iter(jobs())).split("_")[0] + "_10"], check=True)  # seed 5, lr 0.001

    thread = meanwhile(cancel_the_last)
    records = sweep(*asked)
    thread.join()
    assert statuses(records) == {"done": 5, "failed": 7}
    errors = [record.error for record in records if record.error]
    assert sum("the loss is" in error for error in errors) == 6
    cancelled = [record for record in records if "CANCELLED before it started" in record.error]
    assert len(cancelled) == 1 and not cancelled[0].folder.exists()
    caplog.set_level("INFO")
    again = sweep(*asked)
    assert statuses(again) == {"done": 1, "skipped": 5, "failed": 6}
    assert "1 run(s) in 1 job(s)" in caplog.text
    assert not list(here.rglob(".slurm/*.json")) and not list(here.rglob(".sweep/*"))


def test_jobs_find_a_strangers_folder(here):
    (here / "mine" / "loss").mkdir(parents=True)
    (here / "mine" / "loss" / "halved.yaml").write_text("name: halved\n_target_: halves.halved\n")
    (here / "mine" / "halves.py").write_text("def halved(logits, target):\n    return logits.square().mean(1) / 2\n")
    records = launching.launch(plan([*SLURM, *DIGITS, "loss=halved"], here / "mine"), attempt)
    assert statuses(records) == {"done": 1}


def test_a_requeued_and_a_preempted_job_go_on_to_the_bit(here):
    """A job of two runs, whose waiting process is killed. The second start waits for that job; then Slurm requeues it,
    and a more urgent job pushes it out: the finished run is left alone, the broken one goes on twice."""
    asked = ["seed=0,1", "launcher.runs_per_job=2", "launcher.grace_s=20", *LONG]
    command = [sys.executable, "-m", "lilawbench.train", "-m", *SLURM, *asked]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    done, broken = (planned.folder for planned in plan([*SLURM, *asked]).runs)
    wait_for(lambda: len(epochs_of(broken)) > 5)
    first.kill()
    first.communicate()
    finished = (done / "result.json").stat().st_mtime_ns
    (job,) = jobs()

    def disturb():
        subprocess.run(["scontrol", "requeue", job], check=True)
        wait_for(lambda: times_resumed(broken) == 1)
        urgent = ["--partition=urgent", f"--cpus-per-task={os.cpu_count()}", "--output=/dev/null", "--wrap=sleep 1"]
        subprocess.run(["sbatch", "--wait", *urgent], check=True, capture_output=True)
        assert jobs()[job] in ("PENDING", "RUNNING", "COMPLETING")

    thread = meanwhile(disturb)
    records = sweep(*asked)
    thread.join()
    assert statuses(records) == {"done": 1, "skipped": 1}
    assert times_resumed(broken) == 2 and times_resumed(done) == 0
    assert (done / "result.json").stat().st_mtime_ns == finished
    log = next(here.rglob("*_log.err")).read_text() + next(here.rglob("*_log.out")).read_text()
    assert "SIGTERM: the job has to end" in log and "Requeued job" in log
    whole = run(plan(["experiment_name=whole", *LONG, "seed=1"]).runs[0].cfg).folder
    assert rows_of(broken) == rows_of(whole)


def test_a_job_that_runs_out_of_time_goes_on(here):
    """Slurm's shortest limit is a minute, and its signal comes when 25 to 55 s of it are over: requeued, the run goes
    on after the epoch that it had reached. It is cancelled then, being too long for a test."""
    asked = ["seed=0", "launcher.time_min=1", "launcher.grace_s=5", *DIGITS, "train.epochs=5000"]
    folder = plan([*SLURM, *asked]).runs[0].folder

    def see_it_go_on():
        wait_for(lambda: (folder / "train.log").exists() and times_resumed(folder) == 1)
        reached = len(epochs_of(folder))
        wait_for(lambda: len(epochs_of(folder)) > reached + 3)
        subprocess.run(["scancel", next(iter(jobs()))], check=True)

    thread = meanwhile(see_it_go_on)
    (record,) = sweep(*asked)
    thread.join()
    assert record.status == "failed" and "CANCELLED" in record.error and len(jobs()) == 1
    epochs = epochs_of(folder)
    assert epochs == list(range(1, len(epochs) + 1))
    assert "this job is timed-out" in next(here.rglob("*_log.err")).read_text() + (
        next(here.rglob("*_log.out")).read_text()
    )


def test_a_job_that_may_not_be_requeued_is_told(here):
    asked = ["seed=0", "launcher.time_min=1", "launcher.grace_s=20", "launcher.requeues=0", *LONG]
    folder = plan([*SLURM, *asked]).runs[0].folder

    def run_out_of_time():
        wait_for(lambda: epochs_of(folder))
        subprocess.run(["scancel", "--signal=USR2", next(iter(jobs()))], check=True)

    thread = meanwhile(run_out_of_time)
    (record,) = sweep(*asked)
    thread.join()
    assert record.status == "failed" and "timed-out too many times" in record.error
    assert 0 < len(epochs_of(folder)) < 150


def test_the_whole_array_is_cancelled(here):
    asked = ["seed=0,1", *LONG]
    folders = [planned.folder for planned in plan([*SLURM, *asked]).runs]

    def cancel():
        wait_for(lambda: any(epochs_of(folder) for folder in folders))
        subprocess.run(["scancel", next(iter(jobs())).split("_")[0]], check=True)

    thread = meanwhile(cancel)
    records = sweep(*asked)
    thread.join()
    assert all(record.status == "failed" and "CANCELLED" in record.error for record in records)
    assert statuses(sweep(*asked)) == {"done": 2} and sum(map(times_resumed, folders)) >= 1


def test_ctrl_c_cancels_the_jobs(here):
    command = [sys.executable, "-m", "lilawbench.train", "-m", *SLURM, *LONG, "seed=0,1,2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: "RUNNING" in jobs().values())
    process.send_signal(signal.SIGINT)
    try:
        text = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted; the same command continues" in text, text
    wait_for(lambda: set(jobs().values()) == {"CANCELLED"}, 30)


def test_the_tasks_of_a_job_do_one_run(here):
    (record,) = sweep("seed=0", "launcher.tasks_per_node=2", *DIGITS)
    assert record.status == "done" and record.result["processes"] == 2


@pytest.mark.parametrize(
    "option, message",
    [
        ("launcher.partition=debig", "launcher.partition=debig does not exist; did you mean debug"),
        ("launcher.gres=gpu:1", "Slurm refuses the jobs: Invalid generic resource"),
        ("launcher.time_min=3", "launcher.grace_s=120 s may be at most half of launcher.time_min=3 min"),
        ("launcher.constraint=a100", "Slurm refuses the jobs: .*Invalid feature"),
    ],
)
def test_what_slurm_does_not_take(here, option, message):
    with pytest.raises(UserError, match=message):
        sweep(*DIGITS, "seed=0,1", option)
    assert not jobs() or set(jobs().values()) <= slurm_queue.ENDED
    assert not [path for path in here.rglob("*") if path.is_file()]


def test_a_slurm_that_is_down(here, cluster, tmp_path, monkeypatch):
    text = Path(cluster).read_text().replace("SlurmctldPort=", "SlurmctldPort=1 #")
    (tmp_path / "down.conf").write_text(text)
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(tmp_path / "down.conf"))
        start = time.monotonic()
        with pytest.raises(UserError, match="launcher=slurm: .*is DOWN.*Nothing was submitted"):
            sweep(*DIGITS)
    assert time.monotonic() - start < 20


def test_a_controller_that_is_away_does_not_end_the_waiting(here, monkeypatch, caplog):
    caplog.set_level("INFO")
    ask, broken = slurm_queue.states, [True, True]

    def states(ids):
        if ids and broken and broken.pop():
            raise UserError("Slurm's squeue failed: connection refused")
        return ask(ids)

    monkeypatch.setattr(slurm_queue, "states", states)
    (record,) = sweep("seed=0", *DIGITS)
    assert record.status == "done" and "connection refused; still waiting for 1 job(s)" in caplog.text


def test_a_job_whose_program_does_not_start_is_told(here):
    (record,) = sweep("seed=0", "launcher.setup=[exit 3]", *DIGITS)
    assert record.status == "failed" and "FAILED" in record.error and "_log.err" in record.error


def test_a_sweep_started_within_a_job_hides_that_job(monkeypatch):
    """sbatch would take its tasks, memory and cores for those of the new jobs."""
    inherited = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "9", "SLURM_CONF": "/a/slurm.conf", "RANK": "3"}
    for name, value in inherited.items():
        monkeypatch.setenv(name, value)
    with without_job_variables():
        assert {name for name in inherited if name in os.environ} == {"SLURM_CONF"}
    assert inherited.items() <= os.environ.items()


def test_a_clusters_values_in_a_file_of_ones_own(tmp_path):
    (tmp_path / "launcher").mkdir()
    (tmp_path / "launcher" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [slurm]\nlauncher: {partition: long, time_min: 90}\n"
    )
    cfg = plan(["launcher=mine", *DIGITS], str(tmp_path)).cfg
    assert cfg.hydra.launcher.partition == "long" and cfg.hydra.launcher.timeout_min == 90
    assert cfg.hydra.launcher.cpus_per_task == 4 and cfg.launcher.name == "slurm"
