"""What a report of folders may be asked: the same of `python -m lilawbench.report` and of scripts/make_tables.py."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lilawbench.report.measured import SELECTIONS
from lilawbench.report.place import chosen, place
from lilawbench.report.report import LEADING, report
from lilawbench.support.errors import UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds select, baseline, metric, pick, rope and out."""
    parser.add_argument("--select", choices=SELECTIONS, help="which epoch to report (default: best_val, then last)")
    parser.add_argument("--baseline", metavar="METHOD", help="to compare with; loss: plain training with the same loss")
    parser.add_argument("--metric", help="such as test_attacked_0.1_accuracy (default: accuracy, mAP or RMSE)")
    parser.add_argument(
        "--pick",
        metavar="KEY",
        action="append",
        default=[],
        help="show only the best value on validation of method.lr ...",
    )
    parser.add_argument("--rope", metavar="DIFFERENCE", type=size,
                        help="add how probable a larger difference is; 0.5: half a percentage point")  # fmt: skip
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="for the files (default: report/ in the folder, or below it if options or overrides show a part)",
    )


def report_folders(folders: Sequence[Path], options: argparse.Namespace) -> str:
    """Writes the report of some folders where the options say, and returns what is to be printed.

    Raises: see `report`.
    """
    common = folders[0] if len(folders) == 1 else Path(os.path.commonpath([f.absolute() for f in folders]))
    selections = (options.select,) if options.select else LEADING
    parts = [folder.name for folder in folders] if len(folders) > 1 else []
    parts += chosen(select=options.select, metric=options.metric, baseline=options.baseline, rope=options.rope)
    parts += [f"pick={key}" for key in options.pick]
    out = options.out or place(common, parts)
    return report(folders, out, options.baseline, selections, options.metric, options.pick, options.rope, whole=True)


def exit_code(work: Callable[[], None], speaker: str) -> int:
    """Does it. Returns 0, or the error's exit code after a line "speaker: ..."; 2: the report cannot be written."""
    try:
        work()
    except UserError as error:
        print(f"{speaker}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"{speaker}: cannot write the report: {error}", file=sys.stderr)
        return 2
    return 0


def size(text: str) -> float:
    """A difference as an argument. Raises: argparse.ArgumentTypeError, it is not a finite number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give a number of 0 or more, such as 0.5")
    return value
