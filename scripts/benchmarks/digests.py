"""The cost of telling what data a run has: a million files, a table of a million rows, checkpoints."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.scenes import Setup
from lilawbench.config import compose, plain
from lilawbench.engine import checkpoint
from lilawbench.record import data
from lilawbench.record.identity import run_name

FILES, ROWS, CELLS = 1_000_000, 1_000_000, 1000
CLASSES, COLUMNS = 1000, 40
WEIGHTS = 87_500_000  # 350 MB


def bench_digests(setup: Setup) -> None:
    """All that is written here is still in memory when it is read; a disk adds its own time, once."""
    with tempfile.TemporaryDirectory() as folder:
        home, images, table = Path(folder, "outputs"), Path(folder, "images"), Path(folder, "table.csv")
        home.mkdir()
        _write_images(images)
        _write_table(table)
        size = f"{table.stat().st_size / 1e6:,.0f} MB"
        print(f"{FILES:,} files in {CLASSES:,} folders; a table of {ROWS:,} rows, {size}\n")
        print("| | seconds (at most) | of these computing | files looked at | read |\n|---|---|---|---|---|")
        given = f"paths.output_dir={home}"
        folder_of = plain(compose("dataset=folder", f"dataset.path={images}", given))
        table_of = plain(compose("dataset=table", f"dataset.path={table}", "dataset.label=y", given))
        time.sleep(data.SETTLED_SECONDS)
        for name, limit, work in (
            ("a run's name, folder", " (10)", lambda: run_name(folder_of)),
            ("a run's name, table", " (30)", lambda: run_name(table_of)),
            ("in a later process, table", "", lambda: data._read.clear() or run_name(table_of)),
            (f"a plan of {CELLS:,} runs, folder", "", lambda: _plan(folder_of)),
            (f"a plan of {CELLS:,} runs, table", "", lambda: _plan(table_of)),
        ):
            print(f"| {name} | {_measured(work, limit)} |", flush=True)
        _bench_checkpoint(Path(folder))


def _plan(cfg: dict) -> None:
    with data.looked_at_once():
        assert len({run_name(type(cfg)(cfg | {"seed": seed})) for seed in range(CELLS)}) == CELLS


def _measured(work: Callable[[], object], limit: str) -> str:
    """Seconds, and how many files were looked at and read."""
    looked, read, state, digest = [], [], data._state, data._digest
    data._state = lambda path, home: looked.append(found := state(path, home)) or found
    data._digest = lambda path, files: read.append(path) or digest(path, files)
    start, computing = time.perf_counter(), time.process_time()
    try:
        work()
    finally:
        data._state, data._digest = state, digest
    seconds, computing = time.perf_counter() - start, time.process_time() - computing
    return f"{seconds:.2f}{limit} | {computing:.2f} | {sum(found.count for found in looked):,} | {len(read)}"


def _bench_checkpoint(folder: Path) -> None:
    path, state = folder / checkpoint.FILE, {"model": torch.randn(WEIGHTS)}
    print(f"\n| a checkpoint of {4 * WEIGHTS / 1e6:,.0f} MB | seconds |\n|---|---|")
    for name, work in (
        ("written", lambda: checkpoint.save(path, state)),
        ("written, the one before kept", lambda: checkpoint.save(path, state, folder / checkpoint.BEFORE)),
        ("verified", lambda: checkpoint.damage(path)),
        ("read", lambda: checkpoint.load(path)),
    ):
        start = time.perf_counter()
        work()
        print(f"| {name} | {time.perf_counter() - start:.2f} |", flush=True)


def _write_images(root: Path) -> None:
    for number in range(CLASSES):
        folder = root / f"{number:04d}"
        folder.mkdir(parents=True)
        for image in range(FILES // CLASSES):
            os.close(os.open(folder / f"{image:06d}.jpg", os.O_CREAT | os.O_WRONLY))


def _write_table(path: Path) -> None:
    """The same few thousand rows again and again: only their number counts."""
    draw = np.random.default_rng(0)
    lines = [
        ",".join(map("{:.4f}".format, row)) + f",{'ab'[i % 2]}\n"
        for i, row in enumerate(draw.normal(size=(1000, COLUMNS)))
    ]
    with path.open("w") as file:
        file.write(",".join([*(f"x{i}" for i in range(COLUMNS)), "y"]) + "\n")
        for _ in range(ROWS // 1000):
            file.writelines(lines)
