"""The cost of a linear probe of ViT-B/16, in passes of the network over all rows of its data."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmarks.scenes import Setup
from benchmarks.timing import ratio
from lilawbench import train
from lilawbench.config import compose
from lilawbench.datasets.base import Dataset, Source
from lilawbench.loading.resident import Resident
from lilawbench.pipeline import initialise_network
from lilawbench.support import searchpath

SIDE, EPOCHS = 224, 10
ROWS = {"train": 48, "val": 8, "test": 8}


class Pictures(Dataset):
    """Random colour images in memory, with their own validation rows."""

    num_classes = 4
    official_val = True

    def load(self, data_dir: Path | None) -> Source:
        draw, parts = np.random.default_rng(0), {}
        for name, count in ROWS.items():
            parts[f"{name}_input"] = torch.from_numpy(draw.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8))
            parts[f"{name}_clean"] = np.arange(count) % self.num_classes
        return Source(**parts, class_names=tuple("abcd"), mean=(0.5,) * 3, std=(0.5,) * 3)


class Cost(NamedTuple):
    seconds: float
    processor: float  # processor seconds of this process, which other work on the machine does not change
    rows: int  # rows that went through the blocks


def bench_probe(setup: Setup) -> None:
    """Whole runs, from call to record: building the model, hashing data, computing or reading features, ten epochs,
    evaluated and recorded.

    A round has a bare pass and a run of each kind; first runs find no features. One epoch without them stands for ten.
    """
    costs: dict[str, list[Cost]] = {}

    def note(name: str, cost: Cost) -> None:
        costs.setdefault(name, []).append(cost)

    with tempfile.TemporaryDirectory() as folder:  # imports
        _run(setup, folder, "method=lilaw", "+model.options={depth:1,embed_dim:12,num_heads:2}")
    for _ in range(max(2, setup.rounds // 5)):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            note("a pass", _bare_pass(setup))
            note("CE, first run", _run(setup, one, "method=ce"))
            note("CE, another run", _run(setup, one, "method=ce", "noise.rate=0.2"))
            note("LiLAW, first run", _run(setup, other, "method=lilaw"))
            note("LiLAW, another run", _run(setup, other, "method=lilaw", "noise.rate=0.2"))
    with tempfile.TemporaryDirectory() as folder:
        bare = ["train.cache_features=false", "train.epochs=1"]
        note("CE, an epoch without the features", _run(setup, folder, "method=ce", *bare))
        warm = [*bare, "method.warmup_epochs=0"]
        note("LiLAW, an epoch without the features", _run(setup, folder, "method=lilaw", *warm))
    _print(costs)


def _print(costs: dict[str, list[Cost]]) -> None:
    goals = {"CE, first run": "1.3", "CE, another run": "none"}
    rows = sum(ROWS.values())

    def over(name: str, base: str, field: str) -> float:
        found, unit = ([getattr(cost, field) for cost in costs[key]] for key in (name, base))
        return ratio(found, unit[: len(found)])

    print(f"ViT-B/16, {rows} pictures of {SIDE} px, {EPOCHS} epochs; a pass is one forward of each picture\n")
    print("| run | seconds | in passes | of processor time | forwards alone | at most |\n|---|---|---|---|---|---|")
    for name, found in costs.items():
        seconds, forwards = (statistics.median(values) for values in zip(*((c.seconds, c.rows) for c in found)))
        cells = [f"{seconds:.1f}", *(f"{over(name, 'a pass', field):.2f}" for field in ("seconds", "processor"))]
        print("| " + " | ".join([name, *cells, f"{forwards / rows:.2f}", goals.get(name, "")]) + " |")
    by_clock, by_processor = (over("LiLAW, first run", "CE, first run", field) for field in ("seconds", "processor"))
    print(f"\nLiLAW's first run over CE's: {by_clock:.3f} ({by_processor:.3f} of processor time), at most 1.05")


def _bare_pass(setup: Setup) -> Cost:
    cfg, source = _config(setup, "", "method=ce"), Pictures().load(None)
    model = initialise_network(cfg, source).to(setup.device).eval()
    parts = [(source.train_input, len(source.train_input)), (source.val_input, len(source.val_input)),
             (source.test_input, len(source.test_input))]  # fmt: skip
    tables = [Resident(input, torch.zeros(count), source.mean, source.std, setup.device) for input, count in parts]

    def work() -> None:
        with torch.no_grad():
            for table in tables:
                for batch in table.in_order():
                    model(batch.input).cpu()

    return _cost(work)


def _run(setup: Setup, folder: str, *overrides: str) -> Cost:
    cfg = _config(setup, folder, *overrides)
    return _cost(lambda: train.run(cfg))


def _config(setup: Setup, folder: str, *overrides: str):
    cfg = compose(
        "model=vit_b16", "train.finetune=linear_probe", f"train.epochs={EPOCHS}", "train.batch_size=16",
        "train.lr=2e-4", "train.schedule=linear", f"train.device={setup.device}",
        f"train.threads={torch.get_num_threads()}", "split.val_fraction=null", f"paths.output_dir={folder}", *overrides,
    )  # fmt: skip
    searchpath.use([Path(__file__).parents[1]])  # where this module is, which the config names
    cfg.dataset = {"name": "pictures", "_target_": "benchmarks.probe.Pictures"}
    return cfg


def _cost(work: Callable[[], object]) -> Cost:
    with _counted() as rows:
        start, processor = time.perf_counter(), time.process_time()
        work()
        return Cost(time.perf_counter() - start, time.process_time() - processor, sum(rows))


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Rows of each call of the network's blocks."""
    rows, whole = [], VisionTransformer.forward_features

    def counting(self: VisionTransformer, input: torch.Tensor, *more: object, **named: object) -> torch.Tensor:
        rows.append(len(input))
        return whole(self, input, *more, **named)

    VisionTransformer.forward_features = counting
    try:
        yield rows
    finally:
        VisionTransformer.forward_features = whole
