"""The wait before anything is computed, relative to T = `python -c "import torch"`, measured in turn with it."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scenes import Setup

TRAIN = (sys.executable, "-m", "lilawbench.train")
TABLES = (sys.executable, "scripts/make_tables.py")
FAST = (*TRAIN, "debug=fast", "train.threads=1")
ASKED = {  # name -> command, and its limit in T
    "--help": ((*TRAIN, "--help"), 0.45),
    "--version": ((*TRAIN, "--version"), 0.45),
    "a typo in a group": ((*TRAIN, "method=lilau"), 0.45),
    "a typo in a key": ((*TRAIN, "method.lrr=1"), 0.45),
    "--cfg job": ((*TRAIN, "--cfg", "job"), 0.45),
    "TAB": ((*TRAIN, "-sc", "query=bash"), 0.45),
    "a finished run": (FAST, 0.45),
    "make_tables.py, no run finished yet": ((*TABLES, "digits", "--root", "{out}"), 0.45),
    "make_tables.py --list": ((*TABLES, "--list", "--root", "{out}"), 0.45),
    "debug=fast, two short epochs": ((*FAST, "seed={seed}"), 1.7),
}
# Prints milliseconds per planned run and per checked cell. Torch is imported first: checking builds losses.
PLAN = """
import sys, time, torch
from lilawbench.check import check
from lilawbench.experiment.plan import plan
def timed(work):
    start = time.process_time()
    done = work()
    return time.process_time() - start, done
seconds, planned = timed(lambda: [run.folder for run in plan(sys.argv[1:]).runs])
runs = plan(sys.argv[1:]).runs
check(runs[0].cfg)
cells = [run for run in runs if run.seed == 0]
checking, _ = timed(lambda: [check(run.cfg) for run in cells])
print(len(runs), len(cells), 1e3 * seconds / len(runs), 1e3 * checking / len(cells))
"""
SWEEPS = {
    "2 methods x 4 rates x 250 seeds": ["method=ce,lilaw", "noise.rate=0,0.1,0.2,0.3", "seed=range(0,250)"],
    "2,000 learning rates": ["train.lr=" + ",".join(f"{1e-5 * number:.6f}" for number in range(1, 2001))],
    "experiment=head_to_head": ["experiment=head_to_head"],
}


def bench_startup(setup: Setup) -> None:
    """Processor time of new processes with one thread, which a busy machine changes less than wall time."""
    rounds = max(3, setup.rounds // 3)
    with tempfile.TemporaryDirectory() as folder:
        _cpu([*FAST, f"paths.output_dir={folder}"], folder)  # so that it is skipped below
        seconds: dict[str, list[float]] = {name: [] for name in ("T", *ASKED)}
        for number in range(rounds):
            seconds["T"].append(_cpu([sys.executable, "-c", "import torch"], folder))
            for name, (command, _) in ASKED.items():
                parts = [part.format(out=folder, seed=number + 1) for part in command]
                seconds[name].append(_cpu(parts, folder))
    base = statistics.median(seconds["T"])
    print(f"T = {base:.2f} s of processor time\n\n| what | s | T | at most |\n|---|---:|---:|---:|")
    for name, (_, most) in ASKED.items():
        ratios = [a / b for a, b in zip(seconds[name], seconds["T"], strict=True)]
        print(f"| {name} | {statistics.median(seconds[name]):.2f} | {statistics.median(ratios):.2f} | {most} |")
    print(
        "\n| planning | runs | ms per run (2) | cells checked | ms per cell (2) |\n|---|---:|---:|---:|---:|",
        flush=True,
    )
    for name, overrides in SWEEPS.items():
        done = subprocess.run([sys.executable, "-c", PLAN, *overrides], check=True, capture_output=True, text=True)
        runs, cells, run_ms, cell_ms = map(float, done.stdout.split())
        print(f"| {name} | {runs:.0f} | {run_ms:.2f} | {cells:.0f} | {cell_ms:.2f} |", flush=True)


def _cpu(command: Sequence[str], out: str) -> float:
    """Processor seconds of a process in the checkout's root, whatever its exit code."""
    given = {"OMP_NUM_THREADS": "1", "COMP_LINE": "lilawbench method=lil", "COMP_POINT": "21"}
    if tuple(command[:3]) == TRAIN and "debug=fast" in command:
        command = [*command, f"paths.output_dir={out}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    root = Path(__file__).parents[2]
    subprocess.run(command, capture_output=True, cwd=root, env=os.environ | given, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
