"""How many runs this machine can do at once, and on which GPU each."""

import itertools
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from omegaconf import DictConfig

from lilawbench.engine.runtime import locks_of_processes

log = logging.getLogger("lilawbench")

ASSUMED_GB = 2.0  # of a run that was never measured; the imports alone take 0.6
_gpu: FileLock | None = None


def processes(launcher: DictConfig, measured_bytes: Iterable[float] = ()) -> int:
    """Processes for launcher=joblib: one per core, or runs_per_gpu per GPU, but no more than fit in memory.

    Args:
        launcher: its `processes` and `memory_gb_per_run` override what is found here.
        measured_bytes: peak memory of the sweep's finished runs.
    """
    gb = launcher.memory_gb_per_run or 1.2 * max(measured_bytes, default=ASSUMED_GB / 1.2 * 2**30) / 2**30
    fitting = max(1, int(available_bytes() / 2**30 / gb))
    if launcher.processes is not None:
        if launcher.processes > fitting:
            log.warning("launcher.processes=%d at %.1f GB per run need more than the %.1f GB that are free",
                        launcher.processes, gb, available_bytes() / 2**30)  # fmt: skip
        return launcher.processes
    gpus = torch.cuda.device_count()
    return min(gpus * launcher.runs_per_gpu if gpus else cores(), fitting)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int:
    """Free memory of this machine or, if less, of this container."""
    import psutil  # here: a single run does not need it

    available = psutil.virtual_memory().available
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return available if limit == "max" else min(available, int(limit) - int(used))
    except (OSError, ValueError):
        return available


def take_gpu(runs_per_gpu: int) -> None:
    """Gives this process one GPU for its lifetime: the first with fewer than runs_per_gpu, else the least used.

    Must come before CUDA is initialised. Lock files in the temporary folder count the processes of a GPU; a lock is
    released when its process ends.
    """
    global _gpu
    count = torch.cuda.device_count()
    if _gpu is not None or not count:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    folder = locks_of_processes()
    for round_ in itertools.count():
        for gpu, place in itertools.product(visible, range(round_ * runs_per_gpu, (round_ + 1) * runs_per_gpu)):
            lock = FileLock(folder / f"gpu-{gpu}-{place}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _gpu = lock
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return
