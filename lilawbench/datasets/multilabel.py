"""Mulan's multi-label tables: numbers, then a 0 or 1 for each label."""

from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.new_rows.arrays import ArrayReader
from lilawbench.datasets.scale import Scale
from lilawbench.loading.download import fetch
from lilawbench.support.errors import DataError


class MulanTable(Dataset):
    """An ARFF file to train and one to test, the official split. Features are standardised by the training rows.

    Source: Tsoumakas et al. 2011 (Mulan). The labels are the last columns.
    """

    num_classes: int
    task = "multilabel"
    by_hand = True
    name: str
    md5: tuple[str, str]  # of the training and the test file

    def __init__(self) -> None:
        super().__init__()

    def load(self, data_dir: Path | None) -> Source:
        paths = [fetch(f"multilabel/{self.name}-{part}.arff", [], md5, data_dir) for part, md5 in
                 zip(("train", "test"), self.md5, strict=True)]  # fmt: skip
        (train, train_clean, names), (test, test_clean, _) = (self._read(path) for path in paths)
        scale = Scale.fitted(train)
        reader = ArrayReader(train.shape[1:], scale)
        return Source(scale(train), train_clean, scale(test), test_clean, names, clean_known=True, reader=reader)

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Features [N, D] float64, labels [N, K] int64 and their names."""
        from scipy.io import arff

        try:
            rows, meta = arff.loadarff(path)
            table = np.array([list(row) for row in rows.tolist()], dtype=np.float64)  # b"0", b"1" are numbers too
        except (arff.ArffError, ValueError, IndexError, StopIteration) as error:
            raise DataError(f"{path} is not an ARFF table of numbers: {error}") from error
        features, labels = table[:, : -self.num_classes], table[:, -self.num_classes :]
        if not (features.shape[1] and np.isfinite(features).all() and np.isin(labels, (0, 1)).all()):
            raise DataError(f"{path}: expected finite numbers and then {self.num_classes} labels of 0 or 1 a line")
        return features, labels.astype(np.int64), tuple(meta.names()[-self.num_classes :])


class Emotions(MulanTable):
    """Feelings that 593 songs stir, from 72 features of rhythm and timbre (Trohidis et al. 2008)."""

    num_classes = 6
    name = "emotions"
    md5 = ("0e8780630642048782b830723e4db1cb", "c10d7066e5dbedc764deef3a57017560")


class Yeast(MulanTable):
    """Functional classes of 2,417 yeast genes, from 103 features of expression (Elisseeff and Weston 2001)."""

    num_classes = 14
    name = "yeast"
    md5 = ("a1c8eeb7cbaf8ae140c5106ff84db332", "c85f3dfd6508efa5402762849e1f9dc4")
