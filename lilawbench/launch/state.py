"""What has become of a run, as its folder and the queue say: read without torch, and without touching its lock."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lilawbench.launch.slurm_queue import Queued
from lilawbench.record import lock, marks, redo
from lilawbench.support.errors import DataError, first_line

DONE, RUNNING, REQUEUED, WAITING = "done", "running", "requeued", "waiting"
FAILED, BROKEN_OFF, TO_DO = "failed", "broken off", "not begun"
NAMES = (DONE, RUNNING, REQUEUED, WAITING, FAILED, BROKEN_OFF, TO_DO)  # in the order in which they are told
LAST_SWEEP = ".sweep.json"  # in a folder of runs: what its last sweep was to do, and the command
TAIL = 4096  # bytes of train.log that are searched for its last epoch


class State(NamedTuple):
    """One of NAMES, and what is known besides, such as the epoch, the process or the error; "" if nothing is."""

    name: str
    detail: str = ""


def state_of(folder: Path, jobs: Mapping[str, Queued] | None = None, again: bool = False) -> State:
    """The state of the run that has this folder.

    Args:
        jobs: of a cluster, by the names of their runs (`slurm_queue.queued`).
        again: whether its command has sweep.redo=true; if not, a finished run is done, whatever is left to do again.
    """
    try:
        here = redo.working_folder(folder)
        if not again and lock.holder(here) is None:
            here = folder
        if marks.result(here) is not None:
            return State(DONE)
        owner = lock.holder(here)
        if owner is not None:
            return State(RUNNING, f"{_epoch(here)}process {owner['pid']} on {owner['host']}")
        job, begun = (jobs or {}).get(folder.name), (here / "checkpoint.pt").exists()
        if job is not None:
            name = REQUEUED if begun else WAITING
            reason = "" if job.reason in ("", "None") else f" ({job.reason})"
            return State(name, f"{_epoch(here)}Slurm job {job.job_id}: {job.name.lower()}{reason}")
        if (error := marks.failure(here)) is not None:
            return State(FAILED, first_line(error))
    except DataError as error:
        return State(FAILED, first_line(str(error)))
    if begun:
        return State(BROKEN_OFF, f"{_epoch(here)}it goes on from there")
    return State(BROKEN_OFF, "before its first epoch ended") if (here / "train.log").exists() else State(TO_DO)


def _epoch(folder: Path) -> str:
    """ "epoch 3/30, ", the last that has ended."""
    try:
        with (folder / "train.log").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            found = re.findall(rb"^epoch (\d+/\d+)  ", file.read(), re.M)
    except OSError:
        return ""
    return f"epoch {found[-1].decode()}, " if found else ""
