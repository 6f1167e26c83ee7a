"""Slurm's commands: is it available, which partitions are there, in which state are jobs, cancel them.

sacct is not used, since many clusters lack it: squeue lists ended jobs for MinJobAge, five minutes by default.
"""

import contextlib
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lilawbench.record.writer import read_json
from lilawbench.support.errors import UserError, closest

TIMEOUT_S = 20
# why a pending job can never run as it was asked for, and why one may wait for very long
NEVER = (
    *("PartitionConfig", "BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit", "QOSTimeLimit", "QOSNotAllowed"),
    *("AccountNotAllowed", "InvalidAccount", "InvalidQOS", "DependencyNeverSatisfied"),
)
LONG = (
    *("ReqNodeNotAvail", "AssocMax", "AssocGrp", "QOSMax", "QOSGrp", "PartitionDown", "PartitionInactive", "JobHeld"),
    *("NodeDown", "Reservation", "Nodes required for job are DOWN"),
)
GONE = "GONE"  # ended, and forgotten by squeue
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT", GONE,
}  # fmt: skip


class State(NamedTuple):
    """A job's state as squeue prints it (RUNNING, PENDING ...), and why a pending job waits."""

    name: str
    reason: str

    @property
    def never(self) -> bool:
        """Whether it waits for what will not come: a limit of one job, or what no node has."""
        return self.name == "PENDING" and (self.reason in NEVER or self.reason.endswith("PerJobLimit"))

    @property
    def long(self) -> bool:
        """Whether it waits for more than its turn."""
        return self.name == "PENDING" and not self.never and self.reason.startswith(LONG)


class Queued(NamedTuple):
    """A job that has not ended."""

    job_id: str
    name: str  # as in State
    reason: str


def queued(place: Path) -> dict[str, Queued]:
    """Jobs that sweeps in a folder of runs have submitted, by the names of their runs; none if Slurm is not here."""
    found: dict[str, Queued] = {}
    for ledger in sorted((place / ".slurm").glob("*.json")):
        try:
            jobs = read_json(ledger)
            for job_id, state in states(jobs).items():
                if state.name not in ENDED:
                    found |= {run: Queued(job_id, *state) for run in jobs[job_id]}
        except (UserError, OSError):
            continue
    return found


def ask(*command: str) -> str:
    """The output of one of Slurm's commands.

    Raises:
        UserError: it failed (with Slurm's message), or did not answer within TIMEOUT_S.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"Slurm does not answer: {command[0]} took more than {TIMEOUT_S} s") from error
    if done.returncode:
        raise UserError(f"Slurm's {command[0]} failed: {words(done.stderr or done.stdout)}")
    return done.stdout


def words(text: str) -> str:
    """Slurm's message without its prefix: "sbatch: error: Invalid feature" -> "Invalid feature"."""
    lines = [line.split("error: ", 1)[-1].strip(" *") for line in text.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))


def check_cluster(partition: str | None, jobs: int, cpus: int = 1, mem_gb: float | None = None) -> None:
    """Checks that Slurm can run the jobs, before any is submitted.

    Args:
        partition: as launcher.partition, several separated by commas; null: the cluster's default.
        jobs: how many, in one array. cpus, mem_gb: that a job asks for on each node; None: the cluster's default.
    Raises:
        UserError: no Slurm here, Slurm is down, no such partition, more jobs than the cluster allows in an array, or
            no node is large enough.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "launcher=slurm: this machine has no sbatch or srun. Start the sweep where jobs are submitted (a login "
            "node), or use launcher=joblib or launcher=local"
        )
    try:
        ask("scontrol", "ping")  # fails at once if the controller is down; the other commands retry for long
        known = set(ask("sinfo", "--noheader", "--all", "--format=%R").split())
    except UserError as error:
        raise UserError(f"launcher=slurm: {error}. Nothing was submitted; try the same command later") from error
    for name in partition.split(",") if partition else []:
        if name not in known:
            raise UserError(f"launcher.partition={name} does not exist; {closest(name, known)}")
    nodes = nodes_of(partition)
    asked = {"CPUs": float(cpus), "MB": 1024 * (mem_gb or 0)}
    for unit, keys in (("CPUs", "launcher.cpus x launcher.tasks_per_node"), ("MB", "launcher.mem_gb")):
        if nodes and asked[unit] > (largest := max(getattr(node, unit.lower()) for node in nodes)):
            has = f"but the largest node of {partition or 'the default partition'} has {largest}"
            raise UserError(f"{keys}: a job asks for {asked[unit]:g} {unit} on a node, {has} ({told(nodes)})")
    if jobs > 1000 and jobs > (longest := _longest_array()):
        raise UserError(f"{jobs} jobs, but this cluster allows {longest} in an array: raise launcher.runs_per_job")


class Nodes(NamedTuple):
    """Nodes of one kind."""

    partition: str
    nodes: int
    cpus: int
    mb: int
    gres: str
    state: str


def nodes_of(partition: str | None) -> list[Nodes]:
    """The nodes of some partitions, as launcher.partition names them; null: of the default one."""
    of = ["--partition", partition] if partition else []
    rows = (line.split("|") for line in ask("sinfo", "--noheader", *of, "--format=%P|%D|%c|%m|%G|%T").splitlines())
    found = [
        Nodes(name, int(count), int(cpus.rstrip("+")), int(mb.rstrip("+")), gres, state)
        for name, count, cpus, mb, gres, state in rows
    ]
    default = [node for node in found if node.partition.endswith("*")]
    return found if partition or not default else default


def told(nodes: Iterable[Nodes]) -> str:
    """ "debug: 1 x 1 CPUs, 7800 MB, idle"."""
    return "; ".join(
        f"{node.partition.rstrip('*')}: {node.nodes} x {node.cpus} CPUs, {node.mb} MB, "
        + (f"{node.gres}, " if node.gres != "(null)" else "")
        + node.state
        for node in nodes
    )


def _longest_array() -> int:
    lines = (line.split("=") for line in ask("scontrol", "show", "config").splitlines() if "=" in line)
    return int({key.strip(): value.strip() for key, value, *_ in lines}.get("MaxArraySize", 1001)) - 1


def states(job_ids: Iterable[str]) -> dict[str, State]:
    """States of this user's jobs, by id: "12", or "12_3" in an array. Raises: UserError if Slurm does not answer."""
    command = ("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r")
    rows = (line.strip().split("|") for line in ask(*command).splitlines())
    known = {job_id: State(name, reason) for job_id, name, reason in rows}
    return {job_id: known.get(job_id, State(GONE, "")) for job_id in job_ids}


def ended_as(name: str, before: str | None) -> str:
    """How a job ended. A pending job of a cancelled array vanishes from squeue; others stay there for a while."""
    if name != GONE:
        return name
    return "CANCELLED before it started" if before == "PENDING" else "gone from the queue without a result"


def summary(states: Mapping[str, State]) -> str:
    """ "3 running, 9 pending (Resources)" of the jobs that have not ended."""
    alive = [state for state in states.values() if state.name not in ENDED]
    counts = Counter(
        f"{state.name.lower()} ({state.reason})" if state.name == "PENDING" else state.name.lower() for state in alive
    )
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "all jobs have ended"


def arrays(job_ids: Iterable[str]) -> str:
    """ "12, 13" of 12_0, 12_1 and 13_0."""
    return ", ".join(sorted({job_id.split("_")[0] for job_id in job_ids}))


def own_state() -> str:
    """The state of the job that this process belongs to; "" if Slurm does not answer."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job_id = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        return ask("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T").strip()
    except UserError:
        return ""


def cancel(job_ids: Iterable[str]) -> None:
    """Cancels jobs; has no effect on those that have ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--quiet", *job_ids], timeout=TIMEOUT_S, check=False)
