"""Downloads and verifies data sets ahead of time, for example for cluster nodes without a network.

    python scripts/prepare_data.py fashion_mnist adult --data-dir DIR
    python scripts/prepare_data.py medmnist --set dataset.flag=pathmnist --set dataset.size=64
    python scripts/prepare_data.py all

Without --data-dir the folder is LILAWBENCH_DATA, else the cache. Runs find the files in either place.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
from hydra.utils import get_class
from omegaconf import OmegaConf

from lilawbench.check import check
from lilawbench.config import CONF, bind, build, compose
from lilawbench.datasets.base import Source
from lilawbench.loading.download import fetch
from lilawbench.noise import Human
from lilawbench.support.errors import UserError


def target_of(name: str) -> str:
    """The class of a data set's YAML, or of the YAML it builds on; composing them all would take seconds."""
    cfg = OmegaConf.load(CONF / "dataset" / f"{name}.yaml")
    return cfg.dataset.get("_target_") or target_of(cfg.defaults[0])


CHOICES = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
DATASETS = [name for name in CHOICES if not get_class(target_of(name)).by_hand]


def describe(name: str, source: Source) -> str:
    """One line: rows, shape of a sample, and the rows per class or label (or the range of values) of all splits."""
    every = np.concatenate([source.labelled_clean, source.test_clean])
    if source.task == "regression":
        targets = f"{source.class_names[0]}: {every.min():g} to {every.max():g}"
    else:
        counts = every.sum(axis=0) if every.ndim == 2 else np.bincount(every, minlength=source.num_classes)
        targets = "labels: " if every.ndim == 2 else "classes: "
        targets += ", ".join(f"{label} {count}" for label, count in zip(source.class_names, counts, strict=True))
    val = "" if source.val_clean is None else f"{len(source.val_clean)} validation + "
    rows = f"{len(source.train_clean)} train + {val}{len(source.test_clean)} test"
    return f"{name}: {rows}, shape {list(source.input_shape)}, {targets}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", choices=[*DATASETS, "all"], metavar="DATASET",
                        help=f"one or more of {', '.join(DATASETS)}, or all")  # fmt: skip
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("LILAWBENCH_DATA") or None, metavar="DIR",
                        help="an existing folder to look in and download to")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="an option of the data set, as for a run; may be repeated")  # fmt: skip
    chosen = parser.parse_args(arguments)
    code = 0
    for name in DATASETS if "all" in chosen.datasets else chosen.datasets:
        try:
            check(cfg := compose(f"dataset={name}", *chosen.set))
            source = build(cfg.dataset).load(chosen.data_dir)
            if isinstance(noise := bind(cfg.noise), Human):  # their file too
                find = partial(fetch, data_dir=chosen.data_dir)
                noise(source.labelled_clean, source.num_classes, np.random.default_rng(0), find)
            print(describe(name, source), flush=True)
        except UserError as error:
            print(f"{name}: {error}", file=sys.stderr)
            code = error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
