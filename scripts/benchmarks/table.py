"""The cost of a user's table of a million rows, before training."""

import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.scenes import Setup
from lilawbench.config import build, compose
from lilawbench.pipeline import draw_labels, splits_of
from lilawbench.record.writer import write_labels
from lilawbench.support.seeding import derive

ROWS, NUMBERS, CATEGORIES = 1_000_000, 28, (2, 3, 5, 7, 10, 12, 16, 20, 30, 50, 4)


def bench_table(setup: Setup) -> None:
    """40 columns, numbers and categories with gaps; a separate process for each format, to measure its memory."""
    print("| 1,000,000 rows of 40 columns | seconds | of a processor | at most | MB beyond the imports | at most |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
        for kind in ("csv", "parquet"):
            read = [sys.executable, "-c", f"from benchmarks.table import load; load({folder!r}, {kind!r})"]
            printed = subprocess.run(read, check=True, capture_output=True, text=True, env=environment).stdout
            seconds, processor, peak = map(float, printed.split()[-3:])
            print(
                f"| {kind}, read, checked, split | {seconds:.1f} | {processor:.1f} | 30 | {peak:.0f} | 1600 |",
                flush=True,
            )


def load(folder: str, kind: str) -> None:
    """Prints wall and processor seconds up to the first step, and peak MB beyond the imports."""
    arrow = [f"pyarrow.{part}" for part in ("compute", "csv", "parquet")]
    for name in ("pandas", "sklearn.impute", "sklearn.pipeline", "sklearn.preprocessing", *arrow):
        importlib.import_module(name)  # before memory is measured: theirs does not count

    before, start, processor = _peak_megabytes(), time.perf_counter(), time.process_time()
    options = ["dataset=table", f"dataset.path={folder}/table.{kind}", "dataset.label=y"]
    cfg = compose(*options, "noise=symmetric", "noise.rate=0.2")
    source = build(cfg.dataset).source(None, derive(0, "imbalance"))
    labels = draw_labels(cfg, source)
    train, val, test = splits_of(cfg, source, labels, torch.device("cpu"))
    write_labels(Path(folder), **labels.arrays())
    assert len(train) + len(val) + len(test) == ROWS
    print(time.perf_counter() - start, time.process_time() - processor, _peak_megabytes() - before)


def _write(folder: Path) -> None:
    import pandas

    draw, columns = np.random.default_rng(0), {}
    for i in range(NUMBERS):
        columns[f"n{i}"] = draw.standard_normal(ROWS).round(4) if i % 3 else draw.integers(0, 1000, ROWS)
        if i % 7 == 1:
            columns[f"n{i}"] = np.where(draw.random(ROWS) < 0.05, np.nan, columns[f"n{i}"])
    for i, count in enumerate(CATEGORIES):
        columns[f"c{i}"] = np.array([f"value {j}" for j in range(count)])[draw.integers(0, count, ROWS)].astype(object)
        if i % 4 == 0:
            columns[f"c{i}"][draw.random(ROWS) < 0.03] = None
    columns["y"] = np.array(["no", "maybe", "yes"])[draw.integers(0, 3, ROWS)]
    frame = pandas.DataFrame(columns)
    frame.to_csv(folder / "table.csv", index=False)
    frame.to_parquet(folder / "table.parquet")


def _peak_megabytes() -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
