"""What it costs to start."""

import statistics
import subprocess
import sys
import tempfile

from benchmarks.scenes import Setup
from benchmarks.timing import timed


def bench_startup(setup: Setup) -> None:
    """Wall time of fresh processes: digits up to the line of its first epoch (20 steps), and a finished run skipped."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lilawbench.train", "train.epochs=1", f"paths.output_dir={folder}"]
        bare = [sys.executable, "-c", "import lilawbench.train"]
        starts, skips, imports = [], [], []
        for seed in range(max(3, setup.rounds // 3)):
            with subprocess.Popen([*command, f"seed={seed}"], stdout=subprocess.PIPE, text=True) as process:
                starts.append(timed(lambda p=process: next(line for line in p.stdout if line.startswith("epoch 1/1"))))
            again = [*command, f"seed={seed}"]
            skips.append(timed(lambda c=again: subprocess.run(c, check=True, capture_output=True)))
            imports.append(timed(lambda: subprocess.run(bare, check=True)))
    print("| from the start of a process to | seconds | at most |\n|---|---|---|")
    print(f"| lilawbench.train imported | {statistics.median(imports):.2f} | |")
    print(
        f"| digits: the first epoch (20 steps) trained, evaluated and on disk | {statistics.median(starts):.2f} | 5 |"
    )
    after = statistics.median(b - a for a, b in zip(imports, skips, strict=True))
    print(f"| a finished run skipped, less the import | {after:.2f} | 1 |")
