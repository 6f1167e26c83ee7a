"""A training step of every method relative to CE on one network; of the main ones on others, up to ViT-B/16."""

from benchmarks.scenes import Scene, stepper
from benchmarks.timing import interleaved, milliseconds, ratio

from gpu_checks.checks import Checks
from gpu_checks.scenes import BF16, CORE, METHODS
from lilawbench.engine import runtime

SCENES = [  # the most important first; steps per timing
    (Scene("resnet18", (1, 28, 28), 128, 8), BF16),
    (Scene("preact_resnet18", (3, 32, 32), 128, 4), BF16),
    (Scene("resnet32", (3, 32, 32), 128, 4), BF16),
    (Scene("vit_b16", (3, 224, 224), 64, 1), BF16),
    (Scene("mlp", (105,), 512, 20), []),
    (Scene("lstm", (140, 1), 512, 4), []),
    (Scene("resnet18", (1, 28, 28), 512, 4), BF16),
    (Scene("preact_resnet18", (3, 32, 32), 512, 2), BF16),
    (Scene("resnet32", (3, 32, 32), 512, 2), BF16),
    (Scene("mlp", (105,), 128, 20), []),
    (Scene("lstm", (140, 1), 128, 4), []),
]
TINY = [(Scene("cnn", (1, 8, 8), 16, 1), [*BF16, "model.channels=[4,4,4]"])]
# options that make Dynamic Loss do on few rows what it does on many
FEW_ROWS = {"dynamic_loss": ["method.num_bins=10"], "dynamic_loss_lt": ["method.num_bins=10"]}
ROUNDS, BATCHES = 5, 12
GOAL = {"lilaw": 1.20, "dynamic_loss": 4.0}
LARGE = 0.005  # seconds of a CE step from which on the goals apply: below, the host is the limit


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=False)
    for number, (scene, options) in enumerate(TINY if c.tiny else SCENES):
        with c.attempt(str(scene)):
            kind = "bf16, channels_last" if options[:2] == BF16 else "fp32"
            steps = {}
            for method in CORE if number else METHODS:
                with c.attempt(f"{scene}, {kind}, {method}"):
                    given = [f"method={method}", *FEW_ROWS.get(method, []), *options]
                    step = stepper(scene, c.device, *given, batches=BATCHES)
                    step()
                    steps[method] = step
            times = interleaved(steps, 1 if c.tiny else ROUNDS, scene.steps, c.device)
            base = milliseconds(times["ce"])
            c.speed(f"{scene}, {kind}: CE step, ms", base)
            for method in steps:
                if method != "ce":
                    goal = GOAL.get(method) if base > 1e3 * LARGE else None
                    c.speed(f"{scene}, {kind}: {method} / CE", ratio(times[method], times["ce"]), at_most=goal)
