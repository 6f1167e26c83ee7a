"""The columns of a table as features: standardised numbers, flags of missing ones, one-hot categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.columns import Columns
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch
    from sklearn.pipeline import Pipeline


class Encoding:
    """Rows as features [N, D], fitted on some rows, column by column: nothing of the table's size is held twice.

    Args:
        rows: to fit on, [N]. numeric, categorical: names of columns; their features come in this order, the flags of
            missing numbers between them.
    """

    def __init__(self, table: Columns, rows: np.ndarray, numeric: list[str], categorical: list[str]):
        self.numeric: dict[str, Pipeline] = {}
        self.flagged: list[str] = []  # numeric columns with missing values among the fitted rows
        for name in numeric:
            values = _finite(table, name)[rows, None]
            self.numeric[name] = _scaled(table, name, values)
            if np.isnan(values).any():
                self.flagged.append(name)
        self.categories = {name: sorted(set(filled(table, name, rows)[1])) for name in categorical}

    def __call__(self, table: Columns, rows: np.ndarray) -> torch.Tensor:
        """[len(rows), D] float32."""
        import torch

        width = len(self.numeric) + len(self.flagged) + sum(map(len, self.categories.values()))
        encoded = np.zeros((len(rows), width), np.float32)
        place = len(self.numeric)
        for column, (name, scale) in enumerate(self.numeric.items()):
            values = _finite(table, name)[rows, None]
            if name in self.flagged:
                encoded[:, place] = np.isnan(values[:, 0])
                place += 1
            encoded[:, column] = scale.transform(values)[:, 0]
        for name, categories in self.categories.items():
            codes, texts = filled(table, name, rows)
            number = {text: place + i for i, text in enumerate(categories)}
            columns = np.array([number.get(text, -1) for text in texts])[codes]
            known = np.flatnonzero(columns >= 0)
            encoded[known, columns[known]] = 1
            place += len(categories)
        return torch.from_numpy(encoded)

    def described(self) -> str:
        """The categorical columns with their number of values."""
        return ", ".join(f"{name} ({len(values)})" for name, values in self.categories.items()) or "none"


def _scaled(table: Columns, name: str, values: np.ndarray) -> Pipeline:
    """Numbers [N, 1] to mean 0 and standard deviation 1, a missing one as the median; fitted."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if np.isnan(values).all():
        raise DataError(
            f"{table.path}: column {name!r} has no value in the training rows; leave it out with "
            f"dataset.ignore=[{name}]"
        )
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(values)


def _finite(table: Columns, name: str) -> np.ndarray:
    """A numeric column, [N] float64, NaN where missing."""
    values, wrong = table.numbers(name)
    if len(wrong):
        raise not_a_number(table, name, wrong)
    return values


def filled(table: Columns, name: str, rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The texts of some rows as numbers, [len(rows)], and these texts; a missing one is "missing"."""
    codes, texts = table.texts(name)
    there, codes = np.unique(codes[rows], return_inverse=True)
    return codes, [texts[i] or "missing" for i in there]


def not_a_number(table: Columns, name: str, wrong: np.ndarray) -> DataError:
    return DataError(
        f"{table.at(wrong[0])}: {table.text(name, wrong[0])!r} in the numeric column {name!r} is not a finite number "
        f"({len(wrong)} such rows); dataset.missing lists what counts as missing, dataset.categorical=[{name}] takes "
        "the column as categories"
    )
