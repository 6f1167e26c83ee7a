"""What Slurm's own commands say and do: is it there, which partitions, in which state are jobs, cancel them.

Not sacct, which many a cluster has not: squeue knows ended jobs for MinJobAge, five minutes unless configured.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

from lilawbench.support.errors import UserError, closest

TIMEOUT_S = 20
GONE = "GONE"  # ended, and forgotten by squeue
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT", GONE,
}  # fmt: skip


class State(NamedTuple):
    """As squeue has it: RUNNING, PENDING ..., and why a pending job waits."""

    name: str
    reason: str


def ask(*command: str) -> str:
    """What one of Slurm's commands prints.

    Raises:
        UserError: it failed, in Slurm's own words, or gave no answer within TIMEOUT_S.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"Slurm gives no answer: {command[0]} took more than {TIMEOUT_S} s") from error
    if done.returncode:
        raise UserError(f"Slurm's {command[0]} failed: {words(done.stderr or done.stdout)}")
    return done.stdout


def words(text: str) -> str:
    """Slurm's message without its frame: "sbatch: error: Invalid feature" -> "Invalid feature"."""
    lines = [line.split("error: ", 1)[-1].strip(" *") for line in text.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))


def check_cluster(partition: str | None, jobs: int) -> None:
    """Refuses to submit what cannot run.

    Args:
        partition: as launcher.partition, several with commas; null: the cluster's default one.
        jobs: in one array.
    Raises:
        UserError: no Slurm here, Slurm down, no such partition, or an array longer than the cluster takes.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "launcher=slurm: this machine has no sbatch or srun. Start the sweep where jobs are submitted (a login "
            "node), or take launcher=joblib or launcher=local"
        )
    try:
        ask("scontrol", "ping")  # a controller that is down: told at once, where the other commands try for long
        known = set(ask("sinfo", "--noheader", "--all", "--format=%R").split())
    except UserError as error:
        raise UserError(f"launcher=slurm: {error}. Nothing was submitted; the same command does it later") from error
    for name in partition.split(",") if partition else []:
        if name not in known:
            raise UserError(f"launcher.partition={name} does not exist; {closest(name, known)}")
    if jobs > 1000 and jobs > (longest := _longest_array()):
        raise UserError(f"{jobs} jobs, and this cluster takes {longest} in an array: raise launcher.runs_per_job")


def _longest_array() -> int:
    lines = (line.split("=") for line in ask("scontrol", "show", "config").splitlines() if "=" in line)
    return int({key.strip(): value.strip() for key, value, *_ in lines}.get("MaxArraySize", 1001)) - 1


def states(job_ids: Iterable[str]) -> dict[str, State]:
    """Of this user's jobs by id: "12", or "12_3" in an array. Raises: UserError if Slurm cannot be asked."""
    command = ("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r")
    rows = (line.strip().split("|") for line in ask(*command).splitlines())
    known = {job_id: State(name, reason) for job_id, name, reason in rows}
    return {job_id: known.get(job_id, State(GONE, "")) for job_id in job_ids}


def own_state() -> str:
    """State of the job that this process belongs to, "" where Slurm does not say."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job_id = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        return ask("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T").strip()
    except UserError:
        return ""


def cancel(job_ids: Iterable[str]) -> None:
    """scancel; jobs that have ended are left alone."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--quiet", *job_ids], timeout=TIMEOUT_S, check=False)
