"""Checks correctness and speed on this GPU: one command, no network, a few minutes, the most important parts first.

    python scripts/check_gpu.py                        all parts, on cuda
    python scripts/check_gpu.py --only rightness --only sync
    python scripts/check_gpu.py --device cpu --tiny    all parts at a tiny size, to test the checks themselves

Parts:
{parts}

Findings are printed and appended to --out at once, a JSON object per line, and in the end as a Markdown table. A part
that fails, hangs or kills its process does not stop the next. scripts/README.md says what to take to a machine without
a network.

Exit code: 0 all is well; 1 a correctness check failed; 3 another part ended with an error. A missed speed goal is 0.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, installed or not

from gpu_checks.driver import Part, drive

PARTS = [  # by importance, with their shares of the time
    Part(
        "rightness", "gpu_checks.rightness", 18, "five steps of every method agree with the CPU's, fp32 and bf16", True
    ),
    Part("sync", "gpu_checks.sync", 11, "no training step of any method waits for the device", True),
    Part("resume", "gpu_checks.resume", 12, "a run that is killed after two epochs resumes bitwise", True),
    Part("options", "gpu_checks.options", 14, "options of train: and whole runs give the right numbers", True),
    Part("steps", "gpu_checks.steps", 17, "a training step of every method, relative to CE"),
    Part("side_stream", "gpu_checks.side_stream", 5, "LiLAW relative to CE, with its meta step on a side stream"),
    Part("reweight", "gpu_checks.reweight", 2, "RRM's re-weighting of a million losses"),
    Part("dynamic_loss", "gpu_checks.dynamic_loss", 6, "Dynamic Loss relative to CE and to a double backward"),
    Part("images", "gpu_checks.images", 6, "images per second of large networks, relative to bare loops"),
    Part("graphs", "gpu_checks.graphs", 7, "networks of images as CUDA graphs, LiLAW relative to CE in them"),
    Part("small", "gpu_checks.small", 9, "small networks: plain, as CUDA graphs, in several processes"),
    Part("pytest", "gpu_checks.tests", 14, "the tests that need a GPU: pytest -m cuda", True),
]


def main() -> None:
    described = "\n".join(f"    {part.name:<14}{part.about}" for part in PARTS)
    parser = argparse.ArgumentParser(
        description=__doc__.replace("{parts}", described), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda | cuda:N | cpu (default: cuda)")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to test that the checks run")
    parser.add_argument(
        "--only", action="append", choices=[part.name for part in PARTS], metavar="PART", help="may be repeated"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/check_gpu.jsonl"), help="(default: %(default)s)")
    parser.add_argument("--budget", type=float, default=470, help="seconds for all parts (default: %(default)s)")
    args = parser.parse_args()
    chosen = [part for part in PARTS if args.only is None or part.name in args.only]
    sys.exit(drive(chosen, args.device, args.tiny, args.out, args.budget))


if __name__ == "__main__":
    main()
