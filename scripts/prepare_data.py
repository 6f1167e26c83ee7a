"""Downloads and verifies data sets ahead of time, e.g. for cluster nodes without a network.

    python scripts/prepare_data.py fashion_mnist adult --data-dir DIR
    python scripts/prepare_data.py all

Without --data-dir: the folder in LILAWBENCH_DATA, else the cache. Runs find the files in either place.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from lilawbench.config import CONF, build, compose
from lilawbench.data.base import Source
from lilawbench.errors import UserError

BY_HAND = ("embeddings", "gait", "pain")  # nobody can download these
DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml") if path.stem not in BY_HAND)


def describe(name: str, source: Source) -> str:
    """One line: rows, shape of a sample, and rows per class or label (or values) of train and test together."""
    both = np.concatenate([source.train_clean, source.test_clean])
    if source.task == "regression":
        targets = f"{source.class_names[0]}: {both.min():g} to {both.max():g}"
    else:
        counts = both.sum(axis=0) if both.ndim == 2 else np.bincount(both, minlength=source.num_classes)
        targets = "labels: " if both.ndim == 2 else "classes: "
        targets += ", ".join(f"{label} {count}" for label, count in zip(source.class_names, counts, strict=True))
    rows = f"{len(source.train_clean)} train + {len(source.test_clean)} test"
    return f"{name}: {rows}, shape {list(source.input_shape)}, {targets}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", choices=[*DATASETS, "all"], metavar="DATASET",
                        help=f"one or more of {', '.join(DATASETS)}, or all")  # fmt: skip
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("LILAWBENCH_DATA") or None, metavar="DIR",
                        help="an existing folder to look in and download to")  # fmt: skip
    chosen = parser.parse_args(arguments)
    for name in DATASETS if "all" in chosen.datasets else chosen.datasets:
        try:
            print(describe(name, build(compose(f"dataset={name}").dataset).load(chosen.data_dir)), flush=True)
        except UserError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
