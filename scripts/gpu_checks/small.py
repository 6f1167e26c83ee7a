"""Small networks, where the host is the limit: steps per second without and with CUDA graphs; runs per hour."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from benchmarks.scenes import LR, Scene, forever, prepared
from benchmarks.timing import interleaved, milliseconds, ratio

from gpu_checks.checks import Checks
from gpu_checks.runs import config
from lilawbench.engine import runtime
from lilawbench.engine.graphs import GraphedStep
from lilawbench.engine.loop import train_step
from lilawbench.methods.base import Method
from lilawbench.train import run

SCENES = [("Adult's mlp", Scene("mlp", (105,), 256, 30)), ("ECG5000's lstm", Scene("lstm", (140, 1), 512, 10))]
TINY = [("mlp", Scene("mlp", (12,), 16, 2))]
GOAL = 3.0  # times the runs per hour of one process
PROCESSES = (1, 4, 8)
RUN = ["model=mlp", "method=lilaw", "train.batch_size=256", "train.threads=1"]


def check(c: Checks) -> None:
    runtime.prepare(c.device, 1, deterministic=False)
    for name, scene in TINY if c.tiny else SCENES:
        for method in ("ce", "lilaw") if c.tiny else ("ce", "lilaw", "rrm"):
            with c.attempt(f"{name}, {method}"):
                steps = {"plain": steps_of(c, scene, method, train_step)}
                if c.on_cuda:
                    steps["graph"] = steps_of(c, scene, method, GraphedStep())
                times = interleaved(steps, 1 if c.tiny else 9, scene.steps, c.device)
                for kind, seconds in times.items():
                    c.speed(f"{name}, {method}, {kind}: steps/s", 1e3 / milliseconds(seconds))
                if "graph" in times:
                    c.speed(f"{name}, {method}: gain of graphs", ratio(times["plain"], times["graph"]), at_least=GOAL)
    with c.attempt("processes"):
        processes(c)


def steps_of(c: Checks, scene: Scene, name: str, do: Callable, *options: str) -> Callable[[], object]:
    """The next step, input path included."""
    ctx, method = prepared(scene, c.device, f"method={name}", "train.side_stream=false", *options, batches=40)
    ctx.epoch = 10**6
    method.on_epoch_start(ctx)
    ctx.model.train()
    stream = forever(ctx.training_batches)

    def step(method: Method = method) -> None:
        batch = next(stream)
        ctx.batch_size = len(batch.index)
        do(ctx, method, batch, LR)

    for _ in range(5):  # by then a graph is captured
        step()
    return step


def processes(c: Checks) -> None:
    """Whole runs of LiLAW on Adult's mlp: runs per hour of several processes, relative to one."""
    counts = (1, 2) if c.tiny else PROCESSES
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        workers = []
        for number in range(counts[-1]):
            here, there = context.Pipe()
            given = (str(c.device), c.tiny, str(Path(folder, str(number))), there)
            context.Process(target=work, args=given, daemon=True).start()
            workers.append(here)
        for worker in workers:
            worker.recv()
        ways = {"": [], **({", as graphs": ["train.cuda_graphs=true"]} if c.on_cuda else {})}
        alone = None
        for kind, options in ways.items():
            for count in counts:
                start = time.perf_counter()
                for worker in workers[:count]:
                    worker.send(options)
                failures = [reply for worker in workers[:count] if (reply := worker.recv()) != "done"]
                assert not failures, failures[0]
                hourly = 3600 * count / (time.perf_counter() - start)
                alone = alone or hourly
                c.speed(f"{count} process(es){kind}: runs/hour", hourly)
                if hourly is not alone:
                    goal = GOAL if count == counts[-1] else None
                    c.speed(f"{count} process(es){kind}, relative to one without graphs", hourly / alone, at_least=goal)
        for worker in workers:
            worker.send(None)


def work(device: str, tiny: bool, folder: str, orders: Connection) -> None:
    """Does a run for each set of options it receives, each with a new seed, until they are None; the first warms up."""
    data = {"shape": [105], "rows": 640 if tiny else 20_480, "tests": 256, "num_classes": 2}
    seed, options = 0, []
    while options is not None:
        seed += 1
        reply = "done"
        try:
            given = [*RUN, *options, f"seed={seed}", f"train.epochs={2 if tiny else 6}"]
            run(config(data, Path(folder), torch.device(device), *given))
        except Exception as error:
            reply = repr(error)
        orders.send(reply)
        options = orders.recv()
