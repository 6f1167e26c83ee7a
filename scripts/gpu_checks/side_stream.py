"""LiLAW's step relative to CE's, with and without a side stream for the meta step."""

from benchmarks.scenes import Scene, stepper
from benchmarks.timing import interleaved, ratio

from gpu_checks.checks import Checks
from gpu_checks.scenes import BF16
from lilawbench.engine import runtime

SCENES = [
    Scene("resnet18", (1, 28, 28), 128, 8),
    Scene("resnet18", (1, 28, 28), 512, 4),
    Scene("preact_resnet18", (3, 32, 32), 512, 2),
    Scene("resnet32", (3, 32, 32), 512, 2),
    Scene("vit_b16", (3, 224, 224), 64, 1),
]
TINY = [Scene("cnn", (1, 8, 8), 16, 1)]
GOAL, ROUNDS = 1.20, 9


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=False)
    for scene in TINY if c.tiny else SCENES:
        with c.attempt(str(scene)):
            ways = {"ce": ["method=ce"]} | {
                name: ["method=lilaw", f"train.side_stream={on}"]
                for name, on in (("side stream", "true"), ("one stream", "false"))
            }
            steps = {name: stepper(scene, c.device, *given, *BF16, batches=8) for name, given in ways.items()}
            times = interleaved(steps, 1 if c.tiny else ROUNDS, scene.steps, c.device)
            c.speed(f"{scene}: LiLAW / CE, side stream", ratio(times["side stream"], times["ce"]), at_most=GOAL)
            c.speed(f"{scene}: LiLAW / CE, one stream", ratio(times["one stream"], times["ce"]))
            c.speed(f"{scene}: side stream / one stream", ratio(times["side stream"], times["one stream"]), at_most=1.0)
