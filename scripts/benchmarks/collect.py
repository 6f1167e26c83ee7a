"""The cost of collecting 10,000 finished runs."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from benchmarks.scenes import Setup
from lilawbench.config import compose
from lilawbench.record.identity import SCHEMA_VERSION, flatten
from lilawbench.record.selection import select

# Prints runs, columns, seconds to collect (with pandas already imported), seconds to name them, and peak MB. Without
# torch, which reading does not need and which is larger than all the data.
LOAD = """
import re, sys, time
import pandas
from lilawbench.report.collect import collect
from lilawbench.report.names import with_names
times = [time.perf_counter()]
runs = collect(sys.argv[1])
times.append(time.perf_counter())
with_names(runs)
times.append(time.perf_counter())
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(*runs.shape, times[1] - times[0], times[2] - times[1], peak)
"""
METHODS, NOISES = ("ce", "focal", "lilaw", "rrm", "dynamic_loss"), ("symmetric", "asymmetric", "instance", "none")
RATES, SEEDS = 10, 50
MEASURES = ("loss", "accuracy", "top5_accuracy", "precision", "recall", "f1", "balanced_accuracy", "auroc")
EMPTY = ("config.yaml", "labels.npz", "metrics.jsonl", "checkpoint.pt", "train.log", ".lock")  # not opened


def bench_collect(setup: Setup) -> None:
    """Each time in a new process; the files were just written, so none is read from a disk."""
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
        command = [sys.executable, "-c", LOAD, folder]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        print(
            "| 10,000 finished runs | seconds (at most) | their names, seconds | peak MB (at most) |\n|---|---|---|---|"
        )
        for name, limit in (("from nothing", " (10)"), ("again", "")):
            printed = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            ).stdout.split()
            count, columns, seconds, names, peak = map(float, printed)
            assert count == len(METHODS) * len(NOISES) * RATES * SEEDS
            print(
                f"| {name}, {columns:.0f} columns | {seconds:.1f}{limit} | {names:.1f} | {peak:.0f} (1000) |",
                flush=True,
            )


def _write(root: Path) -> None:
    """Result files as runs write them, with random numbers: ten rates and fifty seeds of every method and noise."""
    draw = np.random.default_rng(0)
    names = [f"{part}_{measure}" for part in ("val", "test") for measure in MEASURES]
    for method, noise in itertools.product(METHODS, NOISES):
        config = flatten(OmegaConf.to_container(compose(f"method={method}", f"noise={noise}"), resolve=True), "config")
        for rate, seed in itertools.product(range(RATES), range(SEEDS)):
            epochs = [{"epoch": i, **dict(zip(names, draw.random(len(names)).tolist()))} for i in range(1, 7)]
            folder = root / "sweep" / f"digits-{noise}{rate / RATES}-mlp-{method}-s{seed}"
            folder.mkdir(parents=True)
            drawn = {"config.noise.rate": rate / RATES, "config.seed": seed, "labels.sha256": f"{seed:064x}"}
            rest = {f"versions.{name}": "1.2.3" for name in ("lilawbench", "python", "torch", "numpy")}
            rest |= {name: draw.random() for name in ("noise.realised_rate", "seconds_per_step", "seconds_total")}
            record = {"schema_version": SCHEMA_VERSION, "status": "done", "run": folder.name, "task": "multiclass"}
            record |= config | drawn | select(epochs) | rest
            (folder / "result.json").write_text(json.dumps(record, indent=1))
            for name in EMPTY:
                (folder / name).touch()
