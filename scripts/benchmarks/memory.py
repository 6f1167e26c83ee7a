"""Peak memory of a piece of work, each in a process of its own."""

import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

SCRIPTS = Path(__file__).parents[1]
# glibc gives every larger tensor pages of its own, and gives them back: the resident size is then what is in use
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def growth(work: Callable[[], object], device: torch.device) -> int:
    """Bytes in use at the peak of `work` over those before it, after a warm-up.

    On CUDA the allocator's; on the CPU the resident size, as Linux counts it. (ru_maxrss would begin with the peak of
    the process that started this one.)

    Raises:
        OSError: the CPU on another system.
    """
    work()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def in_fresh_process(module: str, *arguments: str) -> int | None:
    """The number that `python -m module arguments` prints; None if it fails, and says why on stderr."""
    path = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
    command, env = [sys.executable, "-m", module, *arguments], {**os.environ, **MALLOC, "PYTHONPATH": path}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    return None if done.returncode else int(done.stdout.split()[-1])
