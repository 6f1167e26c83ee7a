"""The gain of threads."""

from collections.abc import Callable

import torch

from benchmarks.scenes import SCENES, Setup, stepper
from benchmarks.timing import interleaved, milliseconds, ratio
from lilawbench.engine import runtime


def bench_threads(setup: Setup) -> None:
    """A CE step on the CPU with one thread, relative to the threads of a single run."""
    before, many = torch.get_num_threads(), max(2, runtime.choose_threads(None))
    cpu = torch.device("cpu")
    print(f"| model (batch) | 1 thread ms | {many} threads ms | gain |\n|---|---|---|---|")
    for scene in setup.chosen(SCENES):
        step = stepper(scene, cpu, "method=ce")

        def with_threads(count: int, step: Callable[[], None] = step) -> Callable[[], None]:
            def run() -> None:
                torch.set_num_threads(count)
                step()

            return run

        times = interleaved({"one": with_threads(1), "many": with_threads(many)}, setup.rounds, scene.steps, cpu)
        one, all_ = times["one"], times["many"]
        print(f"| {scene} | {milliseconds(one):.2f} | {milliseconds(all_):.2f} | {ratio(one, all_):.2f} |", flush=True)
    torch.set_num_threads(before)
