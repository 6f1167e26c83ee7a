"""Cost and gain of the options of `train:` that do not change results."""

from benchmarks.memory import growth
from benchmarks.scenes import SCENES, Setup, stepper
from benchmarks.timing import interleaved, milliseconds, ratio

PLAIN = ("method=ce", "train.channels_last=false")
OPTIONS = {
    "plain": [],
    "channels_last": ["train.channels_last=true"],
    "bf16": ["train.precision=bf16"],
    "compile": ["train.compile=true"],
    "channels_last, compile": ["train.channels_last=true", "train.compile=true"],
    "accumulate_steps=4": ["train.accumulate_steps=4"],
}


def bench_options(setup: Setup) -> None:
    """A CE step with each option relative to none, and its memory beyond model, data and optimiser."""
    print("| model (batch) | plain step ms | option | step / plain step | MiB |\n|---|---|---|---|---|", flush=True)
    for scene in setup.chosen(SCENES):
        steps = {name: stepper(scene, setup.device, *PLAIN, *given) for name, given in OPTIONS.items()}
        times = interleaved(steps, setup.rounds, scene.steps, setup.device)
        for name, step in steps.items():
            cells = [scene, f"{milliseconds(times['plain']):.2f}", name, f"{ratio(times[name], times['plain']):.2f}"]
            print("|", " | ".join(map(str, [*cells, f"{growth(step, setup.device) / 2**20:.0f}"])), "|", flush=True)
