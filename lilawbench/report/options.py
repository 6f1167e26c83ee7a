"""What a report of folders may be asked: the same of `python -m lilawbench.report` and of scripts/make_tables.py."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from lilawbench.report.measured import SELECTIONS
from lilawbench.report.place import chosen, place
from lilawbench.report.report import LEADING, report


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds select, baseline, metric, pick and out."""
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
    parts += chosen(select=options.select, metric=options.metric, baseline=options.baseline)
    parts += [f"pick={key}" for key in options.pick]
    out = options.out or place(common, parts)
    return report(folders, out, options.baseline, selections, options.metric, options.pick)
