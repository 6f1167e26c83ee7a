"""The gain of parallel processes, as launcher=joblib starts them."""

import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection

import torch

from benchmarks.scenes import Scene, Setup, stepper
from lilawbench.launch.machine import cores

SCENES = [
    Scene("mlp", (1, 28, 28), 512, 200),
    Scene("cnn", (1, 28, 28), 128, 8),
    Scene("lstm", (140, 1), 128, 6),
]
LIMITS = {"mlp": 1.4, "cnn": 1.6, "lstm": 1.6}  # on two cores


def bench_processes(setup: Setup) -> None:
    """CE steps per second of as many one-thread processes as cores, relative to a single one-thread process."""
    count = cores()
    print(f"| model (batch) | one process, steps/s | {count} processes | gain | at least, on two cores |")
    print("|---|---|---|---|---|")
    for scene in setup.chosen(SCENES):
        one, many = _rates(scene, count, setup.rounds)
        gain = statistics.median(b / a for a, b in zip(one, many))
        shown = f"{statistics.median(one):.1f} | {statistics.median(many):.1f} | {gain:.2f} | {LIMITS[scene.model]}"
        print(f"| {scene} | {shown} |", flush=True)


def _rates(scene: Scene, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Steps per second in each round: of the first process alone, and of all together, in turn."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for _ in range(count):
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(scene, there), daemon=True)
        process.start()
        workers.append(here)
    for worker in workers:
        worker.recv()
    one, many = [], []
    for _ in range(rounds):
        for chosen, rates in ((workers[:1], one), (workers, many)):
            start = time.perf_counter()
            for worker in chosen:
                worker.send(scene.steps)
            for worker in chosen:
                worker.recv()
            rates.append(len(chosen) * scene.steps / (time.perf_counter() - start))
    for worker in workers:
        worker.send(0)
    return one, many


def _work(scene: Scene, orders: Connection) -> None:
    """Does as many steps as it receives, until it receives None."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    step = stepper(scene, torch.device("cpu"), "method=ce")
    for _ in range(3):
        step()
    orders.send("ready")
    while steps := orders.recv():
        for _ in range(steps):
            step()
        orders.send("done")
