"""How many processes a machine takes, and that GPUs are shared evenly."""

import multiprocessing

import pytest
import torch
from omegaconf import OmegaConf

from lilawbench.launch import machine

GB = 2**30


@pytest.fixture
def processes(monkeypatch):
    def count(cores=8, free_gb=100.0, gpus=0, measured=(), **options):
        monkeypatch.setattr(machine, "cores", lambda: cores)
        monkeypatch.setattr(machine, "available_bytes", lambda: int(free_gb * GB))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        launcher = {"processes": None, "runs_per_gpu": 1, "memory_gb_per_run": None, **options}
        return machine.processes(OmegaConf.create(launcher), measured)

    return count


@pytest.mark.parametrize(
    "case, expected",
    [
        ({}, 8),
        ({"free_gb": 7.0}, 3),  # 2 GB assumed
        ({"free_gb": 7.0, "measured": [1.0 * GB, 0.5 * GB]}, 5),  # the largest and a fifth: 1.2 GB
        ({"free_gb": 7.0, "memory_gb_per_run": 3.5}, 2),
        ({"free_gb": 0.5}, 1),
        ({"gpus": 4}, 4),
        ({"gpus": 4, "runs_per_gpu": 3}, 12),
        ({"gpus": 4, "free_gb": 5.0}, 2),
        ({"processes": 5, "free_gb": 100.0}, 5),
    ],
)
def test_as_many_as_cores_or_gpus_and_memory_allow(processes, case, expected):
    assert processes(**case) == expected


def test_more_than_memory_holds_is_warned_of(processes, caplog):
    assert processes(processes=5, free_gb=4.0) == 5
    assert "launcher.processes=5 at 2.0 GB per run need more than the 4.0 GB that are free" in caplog.text


def test_this_machine_has_cores_and_memory():
    assert machine.cores() >= 1 and machine.available_bytes() > 64 * 2**20


def _gpu_of_a_process(folder, runs_per_gpu, said, wait):
    import os
    import tempfile

    torch.cuda.device_count = lambda: 2
    tempfile.tempdir = folder
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    machine.take_gpu(runs_per_gpu)
    said.put(os.environ["CUDA_VISIBLE_DEVICES"])
    wait.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("runs_per_gpu, expected", [(1, "0011"), (2, "0011"), (3, "0001")])
def test_gpus_fill_up_evenly_and_are_free_again(tmp_path, runs_per_gpu, expected):
    context = multiprocessing.get_context("spawn")
    for _ in range(2):  # the second time, the processes of the first have ended
        said, wait = context.Queue(), context.Event()
        arguments = (str(tmp_path), runs_per_gpu, said, wait)
        workers = [context.Process(target=_gpu_of_a_process, args=arguments) for _ in range(4)]
        for worker in workers:
            worker.start()
        assert "".join(sorted(said.get(timeout=60) for _ in workers)) == expected
        wait.set()
        for worker in workers:
            worker.join()


def test_without_a_gpu_nothing_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine.take_gpu(1)
    assert machine._gpu is None
