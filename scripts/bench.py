"""Speed as ratios measured side by side in one process: what methods, the input path and the threads cost.

    python scripts/bench.py                 all rows, a markdown table each
    python scripts/bench.py steps input     some of them
    python scripts/bench.py steps --model resnet32 --model rrm_cnn
    python scripts/bench.py steps --device cuda

Rows:
    steps           a training step of every method over one of cross-entropy
    probe_steps     the same for heads on cached features, in whole epochs as a run trains
    epochs          an epoch of RRM over one of cross-entropy
    reweight        RRM's re-weighting, and the linear program that it replaces
    hypergradients  an iteration of Dynamic Loss by each hypergradient: time and peak memory
    options         a CE step with bf16, channels_last, compile or accumulate_steps over one without
    input           resident batches against a DataLoader
    threads         one thread against all
    processes       as many processes as cores against one, as launcher=joblib runs them
    probe           runs of a linear probe of ViT-B/16, in passes of the network over the data
    files           a list of a million images read and checked, and images decoded by threads against a plain loop
    table           a table of a million rows and 40 columns read, checked and split
    collect         10,000 finished runs read back, from nothing and again
    startup         the start of a process to its first epoch, and a finished run skipped

Every figure is the median over rounds; in a round all candidates run in turn, so a machine that slows down slows all.
"""

import argparse
import platform

import torch
from benchmarks.collect import bench_collect
from benchmarks.dynamic_loss import bench_hypergradients
from benchmarks.files import bench_files
from benchmarks.input import bench_input
from benchmarks.options import bench_options
from benchmarks.probe import bench_probe
from benchmarks.probe_steps import bench_probe_steps
from benchmarks.processes import bench_processes
from benchmarks.rrm import bench_epochs, bench_reweight
from benchmarks.scenes import SCENES, Setup
from benchmarks.startup import bench_startup
from benchmarks.steps import bench_steps
from benchmarks.table import bench_table
from benchmarks.threads import bench_threads

from lilawbench.engine import runtime

ROWS = {
    "steps": bench_steps,
    "probe_steps": bench_probe_steps,
    "epochs": bench_epochs,
    "reweight": bench_reweight,
    "hypergradients": bench_hypergradients,
    "options": bench_options,
    "input": bench_input,
    "threads": bench_threads,
    "processes": bench_processes,
    "probe": bench_probe,
    "files": bench_files,
    "table": bench_table,
    "collect": bench_collect,
    "startup": bench_startup,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="|".join(ROWS), help="default: all")
    parser.add_argument("--device", default="cpu", help="cpu | cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as a lone run has)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--model",
        action="append",
        choices=sorted({scene.model for scene in SCENES}),
        help="of steps, epochs, options, threads and processes; may be given again (default: all)",
    )
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"unknown rows {sorted(unknown)}; there are {list(ROWS)}")
    device = runtime.choose_device(args.device)
    threads = runtime.choose_threads(args.threads)
    runtime.prepare(device, threads, deterministic=False)
    print(f"{platform.machine()}, {runtime.device_name(device)}, {threads} thread(s), torch {torch.__version__}")
    setup = Setup(device, args.rounds, args.model)
    for name in args.rows or ROWS:
        print(f"\n### {name}\n", flush=True)
        ROWS[name](setup)


if __name__ == "__main__":
    main()
