"""The cost of an iteration of Dynamic Loss, by kind of hypergradient."""

from collections.abc import Callable

import torch

from benchmarks.memory import growth
from benchmarks.scenes import Scene, Setup, stepper
from benchmarks.timing import interleaved, milliseconds, ratio

SCENE = Scene("resnet32", (3, 32, 32), 128, 1)
SGD = ("train.optimizer=sgd", "train.weight_decay=5e-4")  # the paper's, momentum .9
FORMATS = {"contiguous": "train.channels_last=false", "channels_last": "train.channels_last=true"}
ITERATIONS = {
    "ce": ["method=ce"],
    "jvp": ["method=dynamic_loss"],
    "jvp, reuse_forward=false": ["method=dynamic_loss", "method.reuse_forward=false"],
    "finite_difference": ["method=dynamic_loss", "method.hypergradient=finite_difference"],
    "double_backward": ["method=dynamic_loss", "method.hypergradient=double_backward"],
}
LIMITS = {"ce": 4.0, "double_backward": 0.65}  # of jvp relative to these


def bench_hypergradients(setup: Setup) -> None:
    """Virtual, meta and real step relative to a CE step and to a double backward, in both memory formats of images.

    The memory is what an iteration needs at its peak beyond model, data and optimiser.
    """
    print(f"{SCENE}\n")
    print("| memory format | hypergradient | ms | / CE step | at most | / double_backward | at most | MiB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    names = [(layout, name) for layout in FORMATS for name in ITERATIONS]
    times = interleaved({name: iteration(*name, setup.device) for name in names}, setup.rounds, 1, setup.device)
    for layout, name in names:
        cells = [layout, name, f"{milliseconds(times[layout, name]):.0f}"]
        for base, limit in LIMITS.items():
            cells += [f"{ratio(times[layout, name], times[layout, base]):.2f}", limit if name == "jvp" else ""]
        peak = growth(iteration(layout, name, setup.device), setup.device)
        cells.append(f"{peak / 2**20:.0f}")
        print("|", " | ".join(map(str, cells)), "|", flush=True)


def iteration(layout: str, name: str, device: torch.device) -> Callable[[], None]:
    return stepper(SCENE, device, *SGD, *ITERATIONS[name], FORMATS[layout])
