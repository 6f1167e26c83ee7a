"""Threads by who else is on the machine; devices by what is there; checkpoints whole or not at all."""

import ctypes
import logging
import os
import subprocess
import sys

import pytest
import torch

from lilawbench.engine import checkpoint, runtime
from lilawbench.support.errors import DataError, DiskError

HOLD = "from lilawbench.engine import runtime; print(runtime.alone_here(), flush=True); input()"


@pytest.fixture
def clear(monkeypatch, tmp_path):
    """No launcher's variables, and a temporary folder in which no other process is known."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(runtime.tempfile, "tempdir", None)
    monkeypatch.setattr(runtime, "_slot", None)
    yield
    if runtime._slot is not None:
        runtime._slot.release()


def test_threads_as_asked(clear):
    assert runtime.choose_threads(3) == 3


@pytest.mark.parametrize(
    "name, value, threads",
    [
        ("OMP_NUM_THREADS", "5", 5),
        ("OMP_NUM_THREADS", "4,2", 4),
        ("SLURM_CPUS_PER_TASK", "6", 6),
        ("LOCAL_WORLD_SIZE", "2", 1),
    ],
)
def test_threads_as_the_launcher_says(clear, monkeypatch, name, value, threads):
    monkeypatch.setenv(name, value)
    assert runtime.choose_threads(None) == threads


@pytest.mark.slow
def test_a_lone_process_takes_the_cores_and_one_of_several_takes_one(clear):
    cores = min(len(os.sched_getaffinity(0)), runtime.MAX_AUTO_THREADS)
    assert runtime.choose_threads(None) == cores
    assert runtime.choose_threads(None) == cores, "its own mark is not another process"
    other = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "False\n"  # it sees this process
        assert runtime.choose_threads(None) == 1
    finally:
        other.kill()
        other.communicate()
    assert runtime.choose_threads(None) == cores, "a killed process leaves no mark"


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.choose_device("auto") == torch.device("cpu")
    assert runtime.choose_device("cuda:1") == torch.device("cuda:1")


def test_peak_memory_is_that_of_the_process():
    block = torch.ones(64, 1024, 1024, dtype=torch.uint8)
    assert runtime.peak_memory_bytes(torch.device("cpu")) > block.numel()


def test_deterministic_is_switched_both_ways():
    runtime.prepare(torch.device("cpu"), 1, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    runtime.prepare(torch.device("cpu"), 1, deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_file_log_ends_with_the_run(tmp_path):
    log, handler = logging.getLogger("lilawbench"), runtime.log_to_file(tmp_path / "train.log")
    log.info("inside")
    runtime.stop_log(handler)
    log.info("outside")
    text = (tmp_path / "train.log").read_text()
    assert "INFO inside" in text and "outside" not in text


def test_checkpoint_goes_round_and_a_torn_write_leaves_the_old_one(tmp_path, no_space):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"weight": torch.arange(3), "epoch": 1})
    no_space("checkpoint.pt")
    with pytest.raises(DiskError, match="No space left"):
        checkpoint.save(path, {"weight": torch.zeros(3), "epoch": 2})
    kept = checkpoint.load(path)
    assert kept["epoch"] == 1 and torch.equal(kept["weight"], torch.arange(3))


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harm"),))

    torch.save({"model": Harm()}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match=r"checkpoint\.pt cannot be read"):
        checkpoint.load(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "harm").exists()


def resident_after_free(**environment: str) -> list[str]:
    """Whether memory was set, and the MB that 64 MB of touched and freed memory leave behind, in a fresh process."""
    code = """
import ctypes
from lilawbench.engine import malloc
read = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
done, before = malloc.keep_freed_memory(), read()
block = libc.malloc(2**26)
ctypes.memset(block, 1, 2**26)
libc.free(block)
print(done, round((read() - before) / 1e6))
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**kept, **environment}
    ).stdout.split()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="another C library than glibc")
def test_freed_memory_stays_unless_the_user_has_a_say():
    done, kept = resident_after_free()
    if done == "True":  # not where glibc refuses
        assert int(kept) > 60
    for name, value in (("MALLOC_ARENA_MAX", "1"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")):
        done, kept = resident_after_free(**{name: value})
        assert done == "False" and int(kept) < 10
