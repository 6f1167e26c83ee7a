"""The columns of a table as features: standardised numbers, flags of missing ones, one-hot categories."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.columns import Columns, say
from lilawbench.datasets.kinds import not_a_number
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch
    from sklearn.preprocessing import StandardScaler

log = logging.getLogger("lilawbench")


class Encoding:
    """Rows as features [N, D], fitted on some rows, column by column: nothing of the table's size is held twice.

    Args:
        rows: to fit on, [N]. numeric, categorical: names of columns; their features come in this order, the flags of
            missing numbers between them.
    """

    def __init__(self, table: Columns, rows: np.ndarray, numeric: list[str], categorical: list[str]):
        from sklearn.preprocessing import StandardScaler

        self.numeric: dict[str, tuple[float, StandardScaler]] = {}  # median and scale
        self.flagged: list[str] = []  # numeric columns with missing values among the fitted rows
        for name in numeric:
            values = _finite(table, name)[rows, None]
            there = ~np.isnan(values)
            if not there.any():
                raise DataError(
                    f"{table.path}: column {name!r} has no value in the training rows; leave it out with "
                    f"{say('ignore', name)}"
                )
            median = float(np.median(values[there]))
            if not there.all():
                self.flagged.append(name)
            self.numeric[name] = median, StandardScaler().fit(np.where(there, values, median))
        self.categories = {name: sorted(set(filled(table, name, rows)[1])) for name in categorical}

    def __call__(self, table: Columns, rows: np.ndarray) -> torch.Tensor:
        """[len(rows), D] float32."""
        import torch

        width = len(self.numeric) + len(self.flagged) + sum(map(len, self.categories.values()))
        encoded = np.zeros((len(rows), width), np.float32)
        place = len(self.numeric)
        for column, (name, (median, scale)) in enumerate(self.numeric.items()):
            values = _finite(table, name)[rows, None]
            if name in self.flagged:
                encoded[:, place] = np.isnan(values[:, 0])
                place += 1
            encoded[:, column] = scale.transform(np.where(np.isnan(values), median, values))[:, 0]
        for name, categories in self.categories.items():
            codes, texts = filled(table, name, rows)
            number = {text: place + i for i, text in enumerate(categories)}
            columns = np.array([number.get(text, -1) for text in texts])[codes]
            known = np.flatnonzero(columns >= 0)
            if 2 * len(known) < len(rows):
                log.warning("%s: column %r: %d of %d rows have categories that no training row has, such as %r",
                            table.path, name, len(rows) - len(known), len(rows),
                            next(text for text in texts if text not in number))  # fmt: skip
            encoded[known, columns[known]] = 1
            place += len(categories)
        return torch.from_numpy(encoded)

    def described(self) -> list[str]:
        """The categorical columns with their number of values."""
        return [f"{name} ({len(values)})" for name, values in self.categories.items()]


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
