"""What Slurm says, read from its commands' output."""

import subprocess
import time

import pytest

from lilawbench.launch import slurm_queue
from lilawbench.launch.slurm_queue import GONE, State, ask, check_cluster, states, words
from lilawbench.support.errors import UserError


def test_words_without_their_frame():
    text = "sbatch: error: Invalid gres\nsbatch: error: Batch job submission failed: Invalid gres specification\n"
    assert words(text) == "Invalid gres; Batch job submission failed: Invalid gres specification"
    assert words("Slurmctld(primary) at a is DOWN\n****\n** RESTORE **\n****\n") == (
        "Slurmctld(primary) at a is DOWN; RESTORE"
    )


def test_states_of_arrays_and_of_forgotten_jobs(monkeypatch):
    said = "12_0|RUNNING|None\n12_1|PENDING|Resources\n13|COMPLETED|None\n99|RUNNING|None\n"
    monkeypatch.setattr(slurm_queue, "ask", lambda *command: said)
    assert states(["12_0", "12_1", "13", "14"]) == {
        "12_0": State("RUNNING", "None"),
        "12_1": State("PENDING", "Resources"),
        "13": State("COMPLETED", "None"),
        "14": State(GONE, ""),
    }


def test_a_command_that_fails_or_hangs_is_told(monkeypatch):
    with pytest.raises(UserError, match="Slurm's ls failed: .*no such file"):
        ask("ls", "/no such file")
    monkeypatch.setattr(slurm_queue, "TIMEOUT_S", 0.1)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"Slurm does not answer: sleep took more than 0\.1 s"):
        ask("sleep", "30")
    assert time.monotonic() - start < 5


@pytest.fixture
def cluster(monkeypatch):
    """Partitions cpu and gpu, and arrays of at most 1200 jobs; what it was asked."""
    said = {"sinfo": "cpu\ngpu\n", "scontrol": "MaxArraySize            = 1201\nMaxJobCount             = 10000\n"}
    asked = []
    monkeypatch.setattr(slurm_queue, "ask", lambda *command: asked.append(command[:2]) or said[command[0]])
    monkeypatch.setattr(slurm_queue.shutil, "which", lambda program: f"/usr/bin/{program}")
    return asked


@pytest.mark.parametrize("partition, jobs", [(None, 1), ("gpu", 1), ("gpu,cpu", 1200)])
def test_what_may_be_submitted(cluster, partition, jobs):
    """Long arrays alone are worth a question about their longest."""
    check_cluster(partition, jobs)
    assert cluster[:2] == [("scontrol", "ping"), ("sinfo", "--noheader")] and len(cluster) == 2 + (jobs > 1000)


@pytest.mark.parametrize(
    "partition, jobs, message",
    [
        ("gpus", 1, "launcher.partition=gpus does not exist; did you mean gpu"),
        ("gpu,long", 1, "launcher.partition=long does not exist; there are cpu, gpu"),
        (None, 1201, "1201 jobs, but this cluster allows 1200 in an array: raise launcher.runs_per_job"),
    ],
)
def test_what_may_not(cluster, partition, jobs, message):
    with pytest.raises(UserError, match=message):
        check_cluster(partition, jobs)


def test_a_machine_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch or srun. .*login node"):
        check_cluster(None, 1)


@pytest.mark.parametrize(
    "environment, asked",
    [({"SLURM_JOB_ID": "15"}, "15"), ({"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}, "12_3")],
)
def test_a_jobs_own_state(monkeypatch, environment, asked):
    """The last task of an array has the array's own number: by that squeue would tell of all tasks."""
    for name, value in ({"SLURM_JOB_ID": "12"} | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm_queue, "ask", lambda *command: f"RUNNING {command[3]}\n")
    assert slurm_queue.own_state() == f"RUNNING --jobs={asked}"


def test_a_state_that_nobody_knows(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, "", "Invalid job id"))
    assert slurm_queue.own_state() == ""
