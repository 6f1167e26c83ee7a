"""What scores of wrong labels cost: an epoch's call of each detector of logits, beside an epoch of cross-entropy."""

import statistics

import torch

from benchmarks.scenes import CLASSES, Scene, Setup, stepper
from benchmarks.timing import interleaved, milliseconds
from lilawbench.probes.detectors import DETECTORS
from lilawbench.probes.detectors.base import Detector, Look

TRAINED = Scene("resnet18", (1, 28, 28), 64, 1)
ROWS, MORE_ROWS = 50_000, 1_000_000
LIMIT = 3  # % of an epoch, for all together
ALL = "all"


def bench_detectors(setup: Setup) -> None:
    """`see` of each, with what it needs computed for it alone, and of all, which share that. CE's epoch is its step
    times the steps of 50,000 rows; the detectors are on the host, whatever the device, and their epochs are whole."""
    step = statistics.median(interleaved({"ce": stepper(TRAINED, setup.device)}, setup.rounds, 1, setup.device)["ce"])
    epoch = step * ROWS / TRAINED.batch
    print(f"CE epoch of {ROWS:,} rows, {TRAINED}: {epoch:.1f} s, extrapolated from a step of {step * 1e3:.1f} ms\n")
    names = [name for name, kind in DETECTORS.items() if not (kind.needs_features or kind.needs_folds)]
    small, large = (timings(names, rows, setup) for rows in (ROWS, MORE_ROWS))
    print(f"| score | ms at {ROWS:,} rows | % of the CE epoch | at most | ms at {MORE_ROWS:,} rows |")
    print("|---|---|---|---|---|")
    for name in (*names, ALL):
        at_most = LIMIT if name == ALL else ""
        share = small[name] / epoch / 10
        print(f"| {name} | {small[name]:.2f} | {share:.4f} | {at_most} | {large[name]:.1f} |", flush=True)


def timings(names: list[str], rows: int, setup: Setup) -> dict[str, float]:
    """Milliseconds of an epoch of each, and of all."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, CLASSES, generator=generator)
    observed = torch.randint(0, CLASSES, (rows,), generator=generator)
    seen = torch.ones(rows, dtype=torch.bool)
    made: dict[str, Detector] = {name: DETECTORS[name]() for name in names}
    for detector in made.values():
        detector.setup(rows, CLASSES)

    def see(*of: str) -> None:
        look = Look(1, logits, observed, seen)
        for name in of:
            made[name].see(look)

    ways = {name: lambda name=name: see(name) for name in names} | {ALL: lambda: see(*names)}
    taken = interleaved(ways, setup.rounds, 1, torch.device("cpu"))
    return {name: milliseconds(seconds) for name, seconds in taken.items()}
