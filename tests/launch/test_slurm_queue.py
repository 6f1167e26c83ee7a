"""What Slurm says, read from its commands' output."""

import subprocess
import time

import pytest

from lilawbench.launch import slurm_queue
from lilawbench.launch.slurm_queue import GONE, State, ask, check_cluster, states, words
from lilawbench.record.writer import write_json
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
    limits = "MaxArraySize            = 1201\nMaxJobCount             = 10000\n"
    nodes = {"cpu": "cpu*|3|2|8000|(null)|idle\ncpu*|1|4|16000+|(null)|mixed\n", "gpu": "gpu|1|64|256000|gpu:4|idle\n"}
    asked = []

    def ask(*command):
        asked.append(command[:2])
        if command[0] != "sinfo":
            return limits
        if command[-1] == "--format=%R":
            return "cpu\ngpu\n"
        return "".join(nodes[name] for name in (command[3].split(",") if "--partition" in command else nodes))

    monkeypatch.setattr(slurm_queue, "ask", ask)
    monkeypatch.setattr(slurm_queue.shutil, "which", lambda program: f"/usr/bin/{program}")
    return asked


@pytest.mark.parametrize("partition, jobs", [(None, 1), ("gpu", 1), ("gpu,cpu", 1200)])
def test_what_may_be_submitted(cluster, partition, jobs):
    """Long arrays alone are worth a question about their longest."""
    check_cluster(partition, jobs)
    assert cluster[:2] == [("scontrol", "ping"), ("sinfo", "--noheader")] and len(cluster) == 3 + (jobs > 1000)


def test_a_job_that_no_node_can_hold_is_refused_with_what_the_nodes_have(cluster):
    """The default partition's largest node has 4 CPUs and 16000 MB."""
    check_cluster(None, 1, cpus=4, mem_gb=15)
    check_cluster("gpu,cpu", 1, cpus=64)
    has = r"cpu: 3 x 2 CPUs, 8000 MB, idle; cpu: 1 x 4 CPUs, 16000 MB, mixed"
    with pytest.raises(UserError, match=rf"asks for 5 CPUs on a node, but the largest node of .* has 4 \({has}\)"):
        check_cluster(None, 1, cpus=5)
    with pytest.raises(UserError, match="launcher.mem_gb: a job asks for 16384 MB on a node"):
        check_cluster("cpu", 1, mem_gb=16)
    with pytest.raises(UserError, match=r"largest node of gpu has 64 \(gpu: 1 x 64 CPUs, 256000 MB, gpu:4, idle\)"):
        check_cluster("gpu", 1, cpus=65)


@pytest.mark.parametrize(
    "state, never, long",
    [
        (State("PENDING", "PartitionConfig"), True, False),
        (State("PENDING", "BadConstraints"), True, False),
        (State("PENDING", "AssocMaxCpuPerJobLimit"), True, False),
        (State("PENDING", "AssocMaxJobsLimit"), False, True),
        (State("PENDING", "ReqNodeNotAvail, UnavailableNodes:n1"), False, True),
        (State("PENDING", "Resources"), False, False),
        (State("RUNNING", "None"), False, False),
    ],
)
def test_why_a_job_waits(state, never, long):
    assert (state.never, state.long) == (never, long)


def test_an_impossible_job_is_told_at_once_and_cancelled_when_it_stays_so(cluster, monkeypatch, caplog, tmp_path):
    from lilawbench.launch import slurm

    cancelled = []
    monkeypatch.setattr(slurm_queue, "cancel", cancelled.extend)
    launcher = slurm.SlurmLauncher(submitit_folder=str(tmp_path), partition=None, nodes=2, cpus_per_task=1)
    states, since = {"1_0": State("PENDING", "PartitionConfig"), "1_1": State("PENDING", "Priority")}, {}
    assert launcher._stuck(states, since) == {} and cancelled == []
    assert (
        "1_0 can never run (PartitionConfig: asked for nodes 2, cpus_per_task 1); the partition has cpu" in caplog.text
    )
    since["1_0"] -= slurm.PATIENCE_S + 1
    assert launcher._stuck(states, since).keys() == {"1_0"} and cancelled == ["1_0"]
    assert len(caplog.records) == 1


def test_a_sweep_waits_for_and_cancels_only_jobs_that_do_its_runs(monkeypatch, tmp_path):
    """Jobs of four commands in one folder: another sweep's, this one's, one with runs of both, and one that ended."""
    from lilawbench.launch import slurm

    ledgers = {
        "a": {"1_0": ["other"], "1_1": ["another"]},
        "b": {"2_0": ["mine", "finished"], "2_1": ["ended"]},
        "c": {"3_0": ["also mine", "other"], "3_1": ["another"]},
        "d": {"4_0": ["mine"]},
    }
    for name, jobs in ledgers.items():
        write_json(tmp_path / f"{name}.json", jobs)
    over = {"2_1", "4_0"}
    monkeypatch.setattr(
        slurm_queue, "states", lambda ids: {i: State("COMPLETED" if i in over else "RUNNING", "") for i in ids}
    )
    left = {"mine", "also mine", "new"}
    launcher = slurm.SlurmLauncher(submitit_folder=str(tmp_path / "%j"))
    assert launcher.active(left, left | {"finished"}) == {
        "mine": "2_0", "finished": "2_0", "also mine": "3_0", "other": "3_0",
    }  # fmt: skip
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["a", "b", "c"]

    def interrupt():
        raise KeyboardInterrupt

    cancelled = []
    monkeypatch.setattr(slurm_queue, "cancel", cancelled.extend)
    with monkeypatch.context() as waiting, pytest.raises(KeyboardInterrupt):
        waiting.setattr(launcher, "_wait", interrupt)
        launcher.launch([], 0)
    assert cancelled == ["2_0"]

    monkeypatch.setattr(launcher, "_wait", list)
    launcher.launch([], 0)
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["a", "c"], "these have jobs that go on"


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
