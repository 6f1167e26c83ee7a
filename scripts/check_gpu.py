"""Is everything right on this GPU, and how fast? One command, no network, some minutes; the best comes first.

    python scripts/check_gpu.py                        all parts, on cuda
    python scripts/check_gpu.py --only rightness --only sync
    python scripts/check_gpu.py --device cpu --tiny    all parts in small: proves the checks themselves

Parts:
{parts}

What is found is printed and appended to --out as it comes, one JSON object a line. A part that fails, hangs or takes
the process with it never stops the next. In the end a table in Markdown. scripts/README.md says what to take to a
machine without a network.

Exit code: 0 all is well; 1 a part on rightness failed; 3 another part broke off. A goal of speed that is missed is 0.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout that this is, installed or not

from gpu_checks.driver import Part, drive

PARTS = [  # in order of worth; shares of the time
    Part(
        "rightness", "gpu_checks.rightness", 18, "five steps of every method agree with the CPU's, fp32 and bf16", True
    ),
    Part("sync", "gpu_checks.sync", 8, "no training step of any method waits for the device", True),
    Part("resume", "gpu_checks.resume", 9, "a run that dies after two epochs goes on bitwise", True),
    Part(
        "options", "gpu_checks.options", 11, "options of train: and whole runs give the numbers that they should", True
    ),
    Part("steps", "gpu_checks.steps", 18, "a training step of every method over one of CE"),
    Part("side_stream", "gpu_checks.beside", 5, "LiLAW over CE with its meta step beside the next forward"),
    Part("reweight", "gpu_checks.reweight", 2, "RRM's re-weighting of a million losses"),
    Part("dynamic_loss", "gpu_checks.dynamic_loss", 6, "Dynamic Loss over CE and over a double backward"),
    Part("images", "gpu_checks.images", 8, "images a second of large networks over bare loops, and of the input path"),
    Part("small", "gpu_checks.small", 11, "small networks: as they are, as graphs, in several processes"),
    Part("pytest", "gpu_checks.tests", 4, "the tests that want a GPU: pytest -m cuda", True),
]


def main() -> None:
    described = "\n".join(f"    {part.name:<14}{part.about}" for part in PARTS)
    parser = argparse.ArgumentParser(
        description=__doc__.replace("{parts}", described), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda | cuda:N | cpu (default: cuda)")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: whether the checks run, not how fast")
    parser.add_argument(
        "--only", action="append", choices=[part.name for part in PARTS], metavar="PART", help="again: more"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/check_gpu.jsonl"), help="(default: %(default)s)")
    parser.add_argument("--budget", type=float, default=470, help="seconds for all parts (default: %(default)s)")
    args = parser.parse_args()
    chosen = [part for part in PARTS if args.only is None or part.name in args.only]
    sys.exit(drive(chosen, args.device, args.tiny, args.out, args.budget))


if __name__ == "__main__":
    main()
