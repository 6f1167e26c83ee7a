"""What grows with the number of rows: time and memory of all that a run keeps or does for each row but training."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.scenes import Setup
from lilawbench.datasets.tar_index import Index
from lilawbench.engine.checkpoint import damage
from lilawbench.loading.image_files import file_ids
from lilawbench.loading.split import stratified
from lilawbench.methods.rrm import reweight
from lilawbench.metrics.measure import headline, memorisation
from lilawbench.noise.transition import symmetric
from lilawbench.record.writer import write_labels

SIZES = (1_000_000, 10_000_000)
CLASSES, BATCH = 10, 4096  # the batch is large, since the network is left out and steps are counted elsewhere
Work = Callable[[Path], object]


def bench_scale(setup: Setup) -> None:
    """Each in a process of its own: its peak counts above what it was given. At 1e8 rows: ten times that of 1e7."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    head = "".join(f" | {rows:.0e} rows: s | GB" for rows in SIZES).replace("e+0", "e")
    print(f"| what{head} |\n|---|{'---:|' * 2 * len(SIZES)}")
    for name in WORK:
        cells = []
        for rows in SIZES:
            call = f"from benchmarks.scale import main; main({name!r}, {rows})"
            done = subprocess.run(
                [sys.executable, "-c", call], check=True, capture_output=True, text=True, env=environment
            )
            seconds, gigabytes = map(float, done.stdout.split())
            cells.append(f" | {seconds:.2f} | {gigabytes:.2f}")
        print(f"| {name}{''.join(cells)} |", flush=True)


def main(name: str, rows: int) -> None:
    """Prints processor seconds, and GB at the peak above what it was given."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = WORK[name](rows)
        before = _peak_reset()
        start = time.process_time()
        work(Path(folder))
        print(time.process_time() - start, (_status("VmHWM") - before) / 1e6)


def _labels(rows: int, classes: int = CLASSES) -> np.ndarray:
    return np.random.default_rng(0).integers(0, classes, rows)


def _noise(rows: int) -> Work:
    labels = _labels(rows)
    return lambda _: symmetric(labels, CLASSES, 0.4, np.random.default_rng(1))


def _split(rows: int) -> Work:
    labels = _labels(rows)
    return lambda _: stratified(labels, 0.15, np.random.default_rng(1))


def _split_1000(rows: int) -> Work:
    labels = _labels(rows, 1000)
    return lambda _: stratified(labels, 0.15, np.random.default_rng(1))


def _order(rows: int) -> Work:
    return lambda _: torch.randperm(rows).split(BATCH)


def _epoch(rows: int) -> Work:
    """What the loop keeps of an epoch, filled batch by batch, and what is measured of it."""
    observed, clean = (torch.from_numpy(_labels(rows)) for _ in range(2))
    observed[::10] = 0

    def work(folder: Path) -> None:
        logits, weight, seen = torch.zeros(rows, CLASSES), torch.zeros(rows), torch.zeros(rows)
        batch = torch.randn(BATCH, CLASSES)
        for index in torch.arange(rows).split(BATCH):
            logits.index_copy_(0, index, batch[: len(index)])
            weight.index_copy_(0, index, batch[: len(index), 0])
            seen.index_fill_(0, index, 1)
        rows_seen = seen.bool()
        headline(logits[rows_seen], observed[rows_seen])
        memorisation(logits[rows_seen], observed[rows_seen], clean[rows_seen], weight[rows_seen])

    return work


def _reweight(rows: int) -> Work:
    losses = torch.empty(rows).exponential_(generator=torch.Generator().manual_seed(0))
    return lambda _: reweight(losses, gamma=0.4)


def _reweight_contamination(rows: int) -> Work:
    losses = torch.empty(rows).exponential_(generator=torch.Generator().manual_seed(0))
    return lambda _: reweight(losses, contamination=0.2)


def _rrm_state(rows: int) -> Work:
    """u, the lowest weight and what is pruned, written as a checkpoint has them, and verified."""

    def work(folder: Path) -> None:
        state = {"u": torch.zeros(rows, dtype=torch.float64), "lowest_weight": torch.ones(rows),
                 "pruned": torch.zeros(rows, dtype=torch.bool)}  # fmt: skip
        torch.save(state, folder / "checkpoint.pt")
        assert not damage(folder / "checkpoint.pt")

    return work


def _labels_npz(rows: int) -> Work:
    labels, all_rows = _labels(rows), np.arange(rows)
    return lambda folder: write_labels(
        folder, observed=labels, clean=labels, train=all_rows[rows // 7 :], val=all_rows[: rows // 7]
    )


def _names(rows: int) -> np.ndarray:
    return np.char.add(b"train-00000.tar:", np.char.zfill(np.arange(rows).astype(np.bytes_), 9))


def _labels_npz_names(rows: int) -> Work:
    """Names of 25 characters, as `shards` and `folder` have them."""
    names = _names(rows)

    def work(folder: Path) -> None:
        write_labels(folder, observed=np.zeros(1), ids=file_ids(names))

    return work


def _index(rows: int) -> Work:
    """The index of tar files with a label of one character, as it stays in memory."""
    number = np.arange(rows)

    def work(folder: Path) -> Index:
        key = np.char.zfill(number.astype(np.bytes_), 9)
        return Index([], number.astype(np.int32), number * 512, number + 1, key, (number % 10).astype("U1"), b"")

    return work


WORK: dict[str, Callable[[int], Work]] = {
    "noise, 10 classes": _noise,
    "split, 10 classes": _split,
    "split, 1,000 classes": _split_1000,
    "order of an epoch": _order,
    "an epoch's logits, 10 classes, and what is measured of them": _epoch,
    "re-weighting, gamma": _reweight,
    "re-weighting, contamination": _reweight_contamination,
    "RRM's state in a checkpoint, written and verified": _rrm_state,
    "labels.npz": _labels_npz,
    "names of rows, 25 characters, in labels.npz": _labels_npz_names,
    "index of tar files, names of 9 characters": _index,
}


def _peak_reset() -> int:
    """kB in use; the peak is counted from here (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    """kB of this process."""
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])
