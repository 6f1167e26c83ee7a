"""CIFAR-10N and CIFAR-100N: the labels that people gave to CIFAR's training images."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.support.errors import DataError


class HumanFile(NamedTuple):
    """An official file: a pickled dict of arrays [50,000], one per set of labels, and `clean_label`."""

    dataset: str
    num_classes: int
    name: str  # below a data folder
    md5: str
    keys: dict[str, str]  # labels option -> key in the file


URL = "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/main/data/"
FILES = (
    HumanFile(
        "CIFAR-10", 10, "cifar-n/CIFAR-10_human.pt", "96644db5574813cae939af5f7f2a0aec",
        {"aggre": "aggre_label", "random1": "random_label1", "random2": "random_label2", "random3": "random_label3",
         "worst": "worse_label"},
    ),
    HumanFile(
        "CIFAR-100", 100, "cifar-n/CIFAR-100_human.pt", "a67b45c1d7992051865b5c755bd68bb1", {"noisy": "noisy_label"}
    ),
)  # fmt: skip


class Human:
    """Replays human labels. Nothing is drawn: every seed has the same observed labels.

    Args:
        labels: of CIFAR-10N, three people per image: aggre (their majority, 9.0 % wrong), random1, random2, random3
            (17.2, 18.1, 17.6 %), worst (a wrong one if there is one, 40.2 %); of CIFAR-100N: noisy (40.2 %, fine
            classes). None: aggre or noisy, as the data set has ten or a hundred classes.
    Raises:
        ValueError: no such labels.
    Source: Wei et al. 2022.
    """

    def __init__(self, labels: str | None = None):
        known = [option for file in FILES for option in file.keys]
        if labels is not None and labels not in known:
            raise ValueError(f"labels is {labels!r}; it must be one of {', '.join(known)}")
        self.labels = labels

    def __call__(
        self, clean: np.ndarray, num_classes: int, generator: np.random.Generator, fetch: Callable[..., Path]
    ) -> np.ndarray:
        """Observed labels, [N] int64.

        Args:
            clean: labels of CIFAR's training rows in the official order, [50,000]. Not modified.
            fetch: (name, urls, md5) -> path of a copy whose hash was checked.
        Raises:
            ValueError: the data set is not the one these labels belong to, or not all of it in its official order.
            DataError: the file is missing or damaged.
        """
        file = next((file for file in FILES if file.num_classes == num_classes), None)
        if file is None:
            raise ValueError(
                f"human labels belong to CIFAR's training images; the data set has {num_classes} classes: use "
                "dataset=cifar10n or dataset=cifar100n"
            )
        labels = self.labels or next(iter(file.keys))
        if labels not in file.keys:
            other = next(other for other in FILES if labels in other.keys)
            raise ValueError(
                f"labels={labels} belong to {other.dataset}; the data set has {num_classes} classes: use noise.labels="
                f"{' or '.join(file.keys)}"
            )
        path = fetch(file.name, [URL + file.name.split("/")[1]], file.md5)
        content = read_checked(path)
        if not np.array_equal(content["clean_label"], clean):
            raise ValueError(
                f"labels={labels} belong to the {len(content['clean_label'])} training images of {file.dataset} "
                f"in their official order; the clean labels in {path} are not those of this data set's {len(clean)} "
                "rows (leave dataset.classes, per_class and imbalance at null)"
            )
        return np.array(content[file.keys[labels]], dtype=np.int64)


def read_checked(path: Path) -> dict[str, np.ndarray]:
    """The dict in an official file. It is pickled: pass only a file whose hash was checked."""
    import torch

    try:
        content: dict[str, np.ndarray] = torch.load(path, map_location="cpu", weights_only=False)
        return content
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
