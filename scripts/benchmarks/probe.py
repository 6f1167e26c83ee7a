"""What a linear probe of ViT-B/16 costs, in passes of the network over all rows of its data."""

import logging
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.scenes import Setup
from benchmarks.timing import timed
from lilawbench.config import compose
from lilawbench.data.base import Dataset, Source
from lilawbench.data.loaders import Resident
from lilawbench.train import initialise_model, run

SIDE, ROWS, EPOCHS, BATCH = 224, 128, 10, 16
COUNTS = {"train": 96, "val": 16, "test": 16}


class Pictures(Dataset):
    """Random colour pictures in memory, with validation rows of their own."""

    num_classes = 4
    official_val = True

    def load(self, data_dir: Path | None) -> Source:
        draw = np.random.default_rng(0)
        parts = {}
        for name, count in COUNTS.items():
            pixels = torch.from_numpy(draw.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8))
            parts |= {f"{name}_input": pixels, f"{name}_clean": np.arange(count) % self.num_classes}
        return Source(**parts, class_names=tuple("abcd"), mean=(0.5,) * 3, std=(0.5,) * 3)


@dataclass
class Cost:
    """Seconds from the call of a run to its record, and rows that came by the network's first block."""

    seconds: float
    rows: int


def bench_probe(setup: Setup) -> None:
    """Whole runs: model built, data hashed, table computed or read, ten epochs trained, evaluated and recorded.

    A round has a bare pass, then a run of each kind; the tables of the first ones start from nothing. Runs without the
    table take one epoch, for a tenth of the cost.
    """
    rounds = max(2, setup.rounds // 5)
    names = ["CE, first run", "CE, again", "LiLAW, first run", "LiLAW, after CE"]
    costs: dict[str, list[Cost]] = {name: [] for name in ["pass", *names]}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            costs["pass"].append(_bare_pass(setup.device))
            costs["CE, first run"].append(_run(one, "ce", setup))
            costs["CE, again"].append(_run(one, "ce", setup, "experiment_name=again"))
            costs["LiLAW, first run"].append(_run(other, "lilaw", setup))
            costs["LiLAW, after CE"].append(_run(one, "lilaw", setup))
    with tempfile.TemporaryDirectory() as folder:
        bare = ["train.cache_features=false", "train.epochs=2"]
        without = {m: _run(folder, m, setup, *bare, "+method.warmup_epochs=0" * (m == "lilaw")) for m in ("ce", "lilaw")}
    unit = [cost.seconds for cost in costs["pass"]]
    total = sum(COUNTS.values())
    print(f"ViT-B/16, {total} rows of {SIDE} px, {EPOCHS} epochs; a pass takes {statistics.median(unit):.1f} s\n")
