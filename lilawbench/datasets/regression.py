"""UCI's small regression tables: a value per row, in its own unit."""

from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.new_rows.arrays import ArrayReader
from lilawbench.datasets.scale import Scale
from lilawbench.loading.download import fetch
from lilawbench.loading.split import stratified
from lilawbench.support.errors import DataError


class RegressionTable(Dataset):
    """Numbers between blanks, the value in the last column. Features are standardised by the training rows.

    There is no official split: the test rows are a fixed fifth, stratified by tenths of the value, the same for every
    seed. The value stays in its unit, so that errors are in it too; its range R is that of the training rows.

    Source: UCI Machine Learning Repository, as one text table each.
    """

    num_classes = 1
    task = "regression"
    by_hand = True
    file: str  # below the data folder
    md5: str
    columns: int
    value: str  # what is predicted, with its unit

    def __init__(self) -> None:
        super().__init__()

    def load(self, data_dir: Path | None) -> Source:
        table = self._read(fetch(self.file, [], self.md5, data_dir))
        values = table[:, -1].astype(np.float32)
        train, test = stratified(values, 0.2, np.random.default_rng(0))
        scale = Scale.fitted(table[train, :-1])
        return Source(
            train_input=scale(table[train, :-1]),
            train_clean=values[train],
            test_input=scale(table[test, :-1]),
            test_clean=values[test],
            class_names=(self.value,),
            target_range=float(np.ptp(values[train])),
            clean_known=True,
            reader=ArrayReader((table.shape[1] - 1,), scale),
        )

    def _read(self, path: Path) -> np.ndarray:
        """[N, columns] float64."""
        try:
            table = np.loadtxt(path, ndmin=2)
        except ValueError as error:
            raise DataError(f"{path} is not a table of numbers: {error}") from error
        if table.shape[1] != self.columns or not np.isfinite(table).all():
            raise DataError(f"{path}: expected {self.columns} finite numbers a line, found {table.shape[1]} columns")
        return table


class Energy(RegressionTable):
    """Heating load of 768 simulated buildings, from eight features of their shape (Tsanas and Xifara 2012)."""

    file, md5, columns = "regression/energy.txt", "261d4267aec44ab19d18cca07eb7060f", 9
    value = "heating load [kWh/m2]"


class Concrete(RegressionTable):
    """Compressive strength of 1,030 concretes, from their mixture and age (Yeh 1998)."""

    file, md5, columns = "regression/concrete.txt", "3a0d46c88b95e3181e5a29475b3a2e04", 9
    value = "strength [MPa]"


class Yacht(RegressionTable):
    """Residuary resistance of 308 towed yacht hulls, from their shape and speed (Gerritsma et al. 1981)."""

    file, md5, columns = "regression/yacht.txt", "7f76e247bb7ca38df3f1a5e918697b3f", 7
    value = "resistance per displacement"
