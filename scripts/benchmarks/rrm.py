"""The cost of RRM's re-weighting: relative to an epoch of training, and by itself."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import linprog

from benchmarks.scenes import LR, Scene, Setup, prepared
from benchmarks.timing import interleaved, milliseconds, ratio, timed
from lilawbench.engine.loop import fit
from lilawbench.methods.rrm import reweight

EPOCHS = [  # the steps are those of an epoch
    Scene("mlp", (1, 28, 28), 128, 32),
    Scene("rrm_cnn", (1, 28, 28), 128, 32),
    Scene("resnet32", (3, 32, 32), 128, 8),
]
EPOCH_LIMITS = {"sweep": 1.40, "training": 1.05}  # by reweight_losses
SIZES = {50_000: "", 1_000_000: 100}  # samples, and the limit in ms
LP_SIZE = 5_000
GAMMA, CONTAMINATION = 0.4, 0.2


def bench_epochs(setup: Setup) -> None:
    """A training epoch of RRM with a re-weighting, relative to cross-entropy, by where the losses come from."""
    print("| model (batch) | steps | CE epoch ms | reweight_losses | RRM epoch / CE epoch | at most |")
    print("|---|---|---|---|---|---|")
    for scene in setup.chosen(EPOCHS):
        epochs = {"ce": epoch(scene, setup.device, "method=ce")}
        for source in EPOCH_LIMITS:
            options = ("method.reweight_every_epochs=1", f"method.reweight_losses={source}")
            epochs[source] = epoch(scene, setup.device, "method=rrm", *options)
        times = interleaved(epochs, setup.rounds, 1, setup.device)
        base = milliseconds(times["ce"])
        for source, limit in EPOCH_LIMITS.items():
            shown = f"{ratio(times[source], times['ce']):.3f}"
            print(f"| {scene} | {scene.steps} | {base:.1f} | {source} | {shown} | {limit:.2f} |", flush=True)


def epoch(scene: Scene, device: torch.device, *overrides: str) -> Callable[[], object]:
    """A function that trains the next epoch."""
    ctx, method = prepared(scene, device, *overrides, batches=scene.steps)
    return lambda: next(fit(ctx, method, lambda _: LR, epochs=ctx.epoch + 1))


def bench_reweight(setup: Setup) -> None:
    """The closed form on float32 losses and, once for comparison, the linear program that it solves."""
    print("| samples | re-weighting by | ms | at most |\n|---|---|---|---|")
    for size, limit in SIZES.items():
        losses = torch.empty(size).exponential_(generator=torch.Generator().manual_seed(0)).to(setup.device)
        ways = {
            f"gamma {GAMMA}": lambda c=losses: reweight(c, gamma=GAMMA),
            f"contamination {CONTAMINATION}": lambda c=losses: reweight(c, contamination=CONTAMINATION),
        }
        for way, seconds in interleaved(ways, setup.rounds, 3, setup.device).items():
            print(f"| {size:,} | {way} | {milliseconds(seconds):.2f} | {limit} |", flush=True)
    losses = np.random.default_rng(0).exponential(size=LP_SIZE)
    print(f"| {LP_SIZE:,} | gamma {GAMMA}, scipy's HiGHS, once | {timed(lambda: linear_program(losses)) * 1e3:.0f} | |")


def linear_program(losses: np.ndarray, gamma: float = GAMMA, penalty_scale: float = 0.5) -> np.ndarray:
    """u by HiGHS: u = v - w, v >= 0, 0 <= w <= 1/N, whose sums are equal."""
    count, price = len(losses), penalty_scale * gamma
    solved = linprog(
        np.concatenate([losses + price, price - losses]),
        A_eq=sparse.csr_matrix(np.repeat([[1.0, -1.0]], count, axis=1)),
        b_eq=[0],
        bounds=[(0, None)] * count + [(0, 1 / count)] * count,
        method="highs",
    )
    return solved.x[:count] - solved.x[count:]
