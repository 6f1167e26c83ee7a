"""Measures speed as ratios, side by side in one process: the cost of methods, input path, options and threads.

    python scripts/bench.py                 all rows, a Markdown table each
    python scripts/bench.py steps input     only these
    python scripts/bench.py steps --model resnet32 --model rrm_cnn
    python scripts/bench.py steps --device cuda

Rows:
    steps           a training step of every method, relative to cross-entropy
    probe_steps     the same for heads on cached features, in whole epochs as a run trains
    epochs          an epoch of RRM, relative to cross-entropy
    reweight        RRM's re-weighting, and the linear program that it replaces
    hypergradients  an iteration of Dynamic Loss with each hypergradient: time and peak memory
    options         a CE step with bf16, channels_last, compile or accumulate_steps, relative to none
    input           resident batches against a DataLoader
    threads         one thread against all
    processes       as many processes as cores against one, as with launcher=joblib
    probe           linear probes of ViT-B/16, in passes of the network over the data
    files           reading and checking a list of a million images; decoding by threads against a plain loop
    table           reading, checking and splitting a table of a million rows and 40 columns
    collect         reading 10,000 finished runs, without and with the cache
    digests         what names a run by its data: a million files, a table of a million rows; checkpoints verified
    detectors       scores of wrong labels that need logits alone, relative to an epoch of cross-entropy
    scale           what a run keeps and does for each row, at a million and ten million rows (6 GB of memory)
    startup         the wait before anything is computed: --help, a typo, a table, debug=fast, a plan

Every figure is the median over rounds. All candidates run in turn in each round, so a slow machine slows all of them.
"""

import argparse
import platform

import torch
from benchmarks.collect import bench_collect
from benchmarks.detectors import bench_detectors
from benchmarks.digests import bench_digests
from benchmarks.dynamic_loss import bench_hypergradients
from benchmarks.files import bench_files
from benchmarks.input import bench_input
from benchmarks.options import bench_options
from benchmarks.probe import bench_probe
from benchmarks.probe_steps import bench_probe_steps
from benchmarks.processes import bench_processes
from benchmarks.rrm import bench_epochs, bench_reweight
from benchmarks.scale import bench_scale
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
    "digests": bench_digests,
    "detectors": bench_detectors,
    "scale": bench_scale,
    "startup": bench_startup,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="|".join(ROWS), help="default: all")
    parser.add_argument("--device", default="cpu", help="cpu | cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as in a single run)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--model",
        action="append",
        choices=sorted({scene.model for scene in SCENES}),
        help="for steps, epochs, options, threads and processes; may be repeated (default: all)",
    )
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"unknown rows {sorted(unknown)}; valid: {list(ROWS)}")
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
