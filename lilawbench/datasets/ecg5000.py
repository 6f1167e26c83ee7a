"""UCR ECG5000: 5,000 heartbeats of one patient, 140 values each, in five classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.loading.download import fetch
from lilawbench.loading.image_files import loaded
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch

URL = "https://www.timeseriesclassification.com/aeon-toolkit/ECG5000.zip"
TRAIN, TEST = "ECG5000_TRAIN.txt", "ECG5000_TEST.txt"
MD5 = {TRAIN: "a7ec9b6577e0cc897dca3adaaa0699ed", TEST: "7ba001a264a37ee360326b17ee0ff693"}

CLASS_NAMES = ("normal", "R-on-T PVC", "PVC", "SP or EB", "unclassified")
SPLITS = ("official", "swapped")
AUGMENTS = ("after_split", "before_split")
LENGTH = 140


class ECG5000(Dataset):
    """Single heartbeats as sequences [140, 1], each with mean 0 and std 1.

    The classes are far from even: 58 % normal, 0.5 % unclassified.

    Args:
        split: "official" trains on 500 beats and tests on 4,500; "swapped" the other way round, as LiLAW's
            Table 18 probably does (its figures are multiples of 1/500).
        classes, imbalance, per_class: as every `Dataset`.
    Source: Chen et al. 2015, from the BIDMC Congestive Heart Failure Database (Goldberger et al. 2000).
    """

    num_classes = 5

    def __init__(
        self,
        split: str = "official",
        classes: Sequence[int] | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        super().__init__(classes, imbalance, per_class)
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        self.split = split

    def load(self, data_dir: Path | None) -> Source:
        parts = [_read(fetch(f"ECG5000/{file}", [URL], MD5[file], data_dir, member=file)) for file in (TRAIN, TEST)]
        if self.split == "swapped":
            parts.reverse()
        (train_input, train_clean), (test_input, test_clean) = parts
        return Source(train_input, train_clean, test_input, test_clean, class_names=CLASS_NAMES, clean_known=True)


class ECG5000A(ECG5000):
    """ECG5000 with noisy copies: half of the training beats, drawn at random, occur twice.

    The copies, x + b + sqrt(u) * eps, follow the other rows in their order. Test beats stay as they are.

    Args:
        augment: "after_split" copies half of the rows that train, each with its observed label, so that no validation
            beat has a twin in training; "before_split" makes rows of their own for label noise and validation split,
            and more than half of the validation beats have one.
        split, classes, imbalance, per_class: see `ECG5000`; they choose the beats that are copied from.
    Source: LiLAW, A.23. Deviations: none; the paper does not say when it copies.
    """

    def __init__(
        self,
        split: str = "official",
        augment: str = "after_split",
        classes: Sequence[int] | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        super().__init__(split, classes, imbalance, per_class)
        if augment not in AUGMENTS:
            raise ValueError(f"augment must be one of {', '.join(AUGMENTS)}, got {augment!r}")
        self.augment = augment

    def source(self, data_dir: Path | None, generator: np.random.Generator) -> Source:
        source = super().source(data_dir, generator)
        if self.augment == "after_split":
            return replace(source, copy=perturbed)
        rows = np.sort(generator.permutation(len(source.train_clean))[: len(source.train_clean) // 2])
        import torch

        beats = loaded(source.train_input)
        return replace(
            source,
            train_input=torch.cat([beats, perturbed(beats[rows], generator)]),
            train_clean=np.concatenate([source.train_clean, source.train_clean[rows]]),
            train_ids=None if source.train_ids is None else np.concatenate([source.train_ids, source.train_ids[rows]]),
        )


def perturbed(beats: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """x + b + sqrt(u) * eps: b ~ U[-.2, .2] and u ~ U[.05, .1] of each beat, eps ~ N(0, 1) of each value.

    Args:
        beats: [N, T, 1] float32. Not modified.
    Source: LiLAW, A.23.
    """
    import torch

    each = (len(beats), 1, 1)
    offset, variance = generator.uniform(-0.2, 0.2, each), generator.uniform(0.05, 0.1, each)
    noise = offset + np.sqrt(variance) * generator.standard_normal(tuple(beats.shape))
    return beats + torch.from_numpy(noise.astype(np.float32))


def _read(path: Path) -> tuple[torch.Tensor, np.ndarray]:
    """Beats [N, 140, 1] float32 and labels [N] int64 in 0..4, from lines of a label 1..5 and 140 values."""
    import torch

    try:
        table = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise DataError(f"{path} is not a table of numbers: {error}") from error
    label, beat = table[:, 0], table[:, 1:]
    if beat.shape[1] != LENGTH or not np.isin(label, np.arange(1, len(CLASS_NAMES) + 1)).all():
        raise DataError(
            f"{path}: expected a label from 1 to {len(CLASS_NAMES)} and {LENGTH} values a line, "
            f"found {beat.shape[1]} values and the labels {np.unique(label)}"
        )
    # the file's beats have std 1 with N - 1 in the denominator, here it is N
    beat = (beat - beat.mean(axis=1, keepdims=True)) / beat.std(axis=1, keepdims=True)
    return torch.from_numpy(beat.astype(np.float32)).unsqueeze(-1), label.astype(np.int64) - 1
