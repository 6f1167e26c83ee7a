"""Networks of images, as CUDA graphs: what the host costs there, and LiLAW relative to CE without it."""

from benchmarks.scenes import Scene
from benchmarks.timing import interleaved, milliseconds, ratio

from gpu_checks.checks import Checks
from gpu_checks.scenes import BF16
from gpu_checks.small import steps_of
from lilawbench.engine import runtime
from lilawbench.engine.graphs import GraphedStep
from lilawbench.engine.loop import train_step

SCENES = [
    Scene("resnet18", (1, 28, 28), 128, 8),
    Scene("resnet32", (3, 32, 32), 128, 4),
    Scene("vit_b16", (3, 224, 224), 64, 1),
    Scene("preact_resnet18", (3, 32, 32), 128, 4),
    Scene("resnet18", (1, 28, 28), 512, 4),
]
TINY = [Scene("cnn", (1, 8, 8), 16, 1)]
METHODS, GOAL, ROUNDS = ("ce", "lilaw", "rrm"), 1.40, 7  # a forward is a third of a step


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=False)
    for scene in TINY if c.tiny else SCENES:
        with c.attempt(str(scene)):
            ways = {(name, "plain"): steps_of(c, scene, name, train_step, *BF16) for name in METHODS}
            if c.on_cuda:
                ways |= {(name, "graph"): steps_of(c, scene, name, GraphedStep(), *BF16) for name in METHODS}
            times = interleaved(ways, 1 if c.tiny else ROUNDS, scene.steps, c.device)
            for kind in ("plain", "graph") if c.on_cuda else ("plain",):
                c.speed(f"{scene}, {kind}: CE step, ms", milliseconds(times["ce", kind]))
                for name in METHODS[1:]:
                    goal = GOAL if (name, kind) == ("lilaw", "graph") else None
                    c.speed(f"{scene}, {kind}: {name} / CE", ratio(times[name, kind], times["ce", kind]), at_most=goal)
            if c.on_cuda:
                for name in METHODS:
                    c.speed(f"{scene}, {name}: gain of graphs", ratio(times[name, "plain"], times[name, "graph"]))
