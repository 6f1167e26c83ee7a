"""An iteration of Dynamic Loss relative to a CE step and to a double backward, on ResNet-32."""

from benchmarks.dynamic_loss import ITERATIONS, LIMITS, SGD
from benchmarks.memory import growth
from benchmarks.scenes import Scene, stepper
from benchmarks.timing import interleaved, milliseconds, ratio

from gpu_checks.checks import Checks
from lilawbench.engine import runtime

SCENE, TINY = Scene("resnet32", (3, 32, 32), 128, 2), Scene("resnet32", (3, 8, 8), 16, 1)
KINDS = {
    "fp32, channels_last": ["train.channels_last=true"],
    "bf16, channels_last": ["train.channels_last=true", "train.precision=bf16"],
    "fp32, contiguous": ["train.channels_last=false"],
}


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=False)
    scene, small = (TINY, ["model.depth=8"]) if c.tiny else (SCENE, [])
    for kind, options in list(KINDS.items())[: 1 if c.tiny else None]:
        with c.attempt(kind):
            steps = {}
            for name, given in ITERATIONS.items():
                bins = ["method.num_bins=10"] if name != "ce" else []
                steps[name] = stepper(scene, c.device, *SGD, *given, *bins, *options, *small, batches=12)
            times = interleaved(steps, 1 if c.tiny else 7, scene.steps, c.device)
            c.speed(f"{scene}, {kind}: CE step, ms", milliseconds(times["ce"]))
            for base, limit in LIMITS.items():
                c.speed(f"{scene}, {kind}: jvp / {base}", ratio(times["jvp"], times[base]), at_most=limit)
            for name in ("jvp, reuse_forward=false", "finite_difference"):
                c.speed(f"{scene}, {kind}: {name} / ce", ratio(times[name], times["ce"]))
            for name in ("ce",) if c.tiny else ("ce", "jvp", "double_backward"):
                c.speed(f"{scene}, {kind}: {name}, MiB at the peak", growth(steps[name], c.device) / 2**20)
