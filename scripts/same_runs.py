"""Does this version compute the same as another? Compares a hundred small runs of two checkouts, bit by bit.

    git worktree add ../before HEAD~1
    python scripts/same_runs.py ../before
    python scripts/same_runs.py ../before --only lilaw --keep kept    only runs whose names hold "lilaw"

For refactoring, which must change no number. Takes two minutes on two free cores. It compares every row of
metrics.jsonl, every key of result.json, labels.npz, the networks' weights and the method's state. golden/compare.py
lists what is left out, and keys that were renamed on purpose. Real data sets are included if LILAWBENCH_DATA names
their folder.

Exit code: 0 all runs are the same; 1 a run differs or failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from golden import data
from golden.compare import differences, in_old_words
from golden.runs import chosen, options

HERE = Path(__file__).resolve().parents[1]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SHOWN = 3  # differences shown per run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, metavar="OTHER", help="folder of another checkout, e.g. a git worktree")
    parser.add_argument("--only", metavar="SUBSTRING", help="only runs whose names contain it")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the runs in this new folder")
    args = parser.parse_args()
    if not (args.other / "lilawbench").is_dir():
        parser.error(f"{args.other} has no folder lilawbench")
    if args.keep:
        args.keep.mkdir(parents=True)
        sys.exit(compare(args.other.resolve(), args.only, args.keep.resolve()))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(compare(args.other.resolve(), args.only, Path(folder)))


def compare(other: Path, only: str | None, folder: Path) -> int:
    """Does all runs twice, in `folder`, and prints a line for each. Returns the exit code."""
    real = Path(os.environ["LILAWBENCH_DATA"]).resolve() if os.environ.get("LILAWBENCH_DATA") else None
    alone, ranks = chosen(only, real is not None, HERE, other)
    if not (alone or ranks):
        print(f"no run's name contains {only!r}")
        return 1
    print(f"{len(alone | ranks)} runs, twice", flush=True)
    data.write(folder / "data", real)
    with ThreadPoolExecutor() as pool:
        sides = [pool.submit(do, *at, alone, ranks, folder, real) for at in (("here", HERE), ("other", other))]
        here, there = (side.result() for side in sides)
    failures = 0
    for name in alone | ranks:
        lines = problems(here[name], there[name])
        failures += bool(lines)
        print("\n    ".join([f"{name}: {'differs' if lines else 'same'}", *lines]))
    if real is None:
        print("LILAWBENCH_DATA is not set: no runs on real data")
    print(f"{len(alone | ranks) - failures} the same, {failures} not")
    return int(failures > 0)


def problems(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """The errors or differences of a run; none if it is the same."""
    errors = [f"failed in {place}: {end['error']}" for place, end in (("this checkout", here), ("the other", there))
              if "error" in end]  # fmt: skip
    if errors:
        return errors
    found = list(differences(Path(here["folder"]), Path(there["folder"])))
    return [*found[:SHOWN], *([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])]


def do(
    side: str, checkout: Path, alone: dict[str, str], ranks: dict[str, str], folder: Path, real: Path | None
) -> dict[str, dict[str, str]]:
    """Does all runs with one checkout: most in one process, the others in one torchrun. Name -> folder or error."""
    ends = {}
    for kind, runs, command in (("alone", alone, []), ("ranks", ranks, TORCHRUN)):
        if not runs:
            continue
        place = folder / side / kind
        place.mkdir(parents=True)
        paths = [f"paths.output_dir={place}/outputs", f"paths.data_dir={real or 'null'}"]
        given = {name: [*options(text, str(folder / "data")), *paths] for name, text in runs.items()}
        if side == "other":
            given = {name: [in_old_words(option) for option in words] for name, words in given.items()}
        job = {"checkout": str(checkout), "runs": given, "out": str(place / "done.jsonl")}
        (place / "job.json").write_text(json.dumps(job))
        path = os.pathsep.join([str(checkout), str(HERE / "scripts")])
        with (place / "log.txt").open("w") as log:
            ended = subprocess.run(
                [sys.executable, *command, "-m", "golden.worker", str(place / "job.json")],
                cwd=place, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        lines = (place / "done.jsonl").read_text().splitlines() if (place / "done.jsonl").exists() else []
        ends |= {end["name"]: end for end in map(json.loads, lines)}
        last = (place / "log.txt").read_text().strip().splitlines()[-1:]
        for name in runs:
            ends.setdefault(name, {"error": f"its process ended with {ended.returncode}: {' '.join(last)}"})
    return ends


if __name__ == "__main__":
    main()
