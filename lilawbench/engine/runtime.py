"""What a run uses of its machine: device, threads, deterministic kernels, memory."""

import contextlib
import logging
import os
import resource
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch.backends import cuda

from lilawbench.engine import malloc
from lilawbench.support.atomic import writable
from lilawbench.support.errors import ConfigError

log = logging.getLogger("lilawbench")

MAX_AUTO_THREADS = 8
_slot: FileLock | None = None


def choose_device(name: str) -> torch.device:
    """`auto` is a CUDA device where there is one, else the CPU. Under torchrun each process has its own CUDA device.

    Raises:
        ConfigError: this machine has fewer CUDA devices than processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if name == "cpu" or processes == 1:
        return torch.device(name)
    count = torch.cuda.device_count()
    if name != "cuda" or processes > count:
        shared = f"train.device={name}: {processes} processes on {count} CUDA device(s)"
        raise ConfigError([f"{shared}; each needs its own: train.device=cuda and --nproc-per-node at most {count}"])
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def choose_threads(asked: int | None) -> int:
    """Number of CPU threads for a run: as asked, else all cores for a lone process, and 1 for each of several.

    Small models lose far more to two processes that compete for cores than they gain from threads, so one thread is the
    default under a parallel launcher (OMP_NUM_THREADS, torchrun, a Slurm task with its own cpus) or beside another
    lilawbench process on this machine.
    """
    if asked is not None:
        return asked
    if "OMP_NUM_THREADS" in os.environ:
        return max(1, int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    if "SLURM_CPUS_PER_TASK" in os.environ:
        return int(os.environ["SLURM_CPUS_PER_TASK"])
    if int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1 or not alone_here():
        return 1
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MAX_AUTO_THREADS
    )


def alone_here() -> bool:
    """Whether no other process of this user runs lilawbench on this machine now.

    Each process holds one of 64 lock files while it lives; the kernel frees it however the process dies.
    """
    global _slot
    folder = locks_of_processes()
    others = 0
    for number in range(64):
        path = folder / f"process-{number}.lock"
        if _slot is not None and Path(_slot.lock_file) == path:
            continue
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            others += 1
            continue
        if _slot is None:
            _slot = lock
        else:
            lock.release()
    return others == 0


def locks_of_processes() -> Path:
    """Folder for the locks by which this user's processes on this machine are counted."""
    folder = Path(tempfile.gettempdir()) / f"lilawbench-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    folder.mkdir(exist_ok=True)
    return folder


def prepare(device: torch.device, threads: int, deterministic: bool) -> None:
    """Sets threads, the C library's memory and, for bitwise repeatable runs, deterministic kernels."""
    torch.set_num_threads(threads)
    if device.type == "cpu":
        malloc.keep_freed_memory()
    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # as use_deterministic_algorithms(warn_only=True), but without importing torch's compiler, which takes over a second
    torch.set_deterministic_debug_mode("warn" if deterministic else "default")
    torch.backends.cudnn.benchmark = not deterministic
    # fused attention is repeatable only where every other kernel must be: not when they merely warn
    for switch in (cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_cudnn_sdp):
        switch(not deterministic)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def device_name(device: torch.device) -> str:
    """For the record, such as "NVIDIA H100"; "cpu" for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_memory_bytes(device: torch.device) -> int:
    """Peak of the device's allocations on CUDA; on the CPU the peak resident size of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: on a full disk the run ends where its record is written, with one line."""


def log_to_file(path: Path) -> logging.Handler:
    """Messages go to a run's own log too, with the time, until `stop_log`."""
    with writable(path):
        handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


def stop_log(handler: logging.Handler) -> None:
    """Ends and closes a log of `log_to_file`."""
    log.removeHandler(handler)
    with contextlib.suppress(OSError):
        handler.close()
