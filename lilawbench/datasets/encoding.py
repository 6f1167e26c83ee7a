"""The columns of a table as features: standardised numbers, flags of missing ones, one-hot categories."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lilawbench.datasets.columns import Columns, say
from lilawbench.datasets.kinds import not_a_number
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("lilawbench")


class Number(NamedTuple):
    """How a numeric column is standardised; the median stands in for a missing value."""

    median: float
    mean: float
    std: float


class Unknown(NamedTuple):
    """Categories of a column that no fitted row had."""

    name: str
    rows: int  # that hold one
    example: str


class Encoding:
    """Rows as features [N, D], column by column: nothing of the table's size is held twice.

    Args:
        numeric: columns of numbers. flagged: those of them with missing values among the fitted rows.
        categories: of the columns of texts. Their features come in this order, the flags between the other two.
    """

    def __init__(self, numeric: Mapping[str, Number], flagged: Sequence[str], categories: Mapping[str, Sequence[str]]):
        self.numeric, self.flagged = dict(numeric), list(flagged)
        self.categories = {name: list(texts) for name, texts in categories.items()}

    @classmethod
    def fitted(cls, table: Columns, rows: np.ndarray, numeric: Sequence[str], categorical: Sequence[str]) -> Encoding:
        """Of some rows [N]. Raises: DataError, a numeric column has no value in them."""
        from sklearn.preprocessing import StandardScaler

        numbers, flagged = {}, []
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
                flagged.append(name)
            scaler = StandardScaler().fit(np.where(there, values, median))
            numbers[name] = Number(median, float(scaler.mean_[0]), float(scaler.scale_[0]))
        return cls(numbers, flagged, {name: sorted(set(filled(table, name, rows)[1])) for name in categorical})

    def __call__(self, table: Columns, rows: np.ndarray) -> torch.Tensor:
        """[len(rows), D] float32."""
        import torch

        width = len(self.numeric) + len(self.flagged) + sum(map(len, self.categories.values()))
        encoded = np.zeros((len(rows), width), np.float32)
        place = len(self.numeric)
        for column, (name, number) in enumerate(self.numeric.items()):
            values = _finite(table, name)[rows]
            if name in self.flagged:
                encoded[:, place] = np.isnan(values)
                place += 1
            encoded[:, column] = (np.where(np.isnan(values), number.median, values) - number.mean) / number.std
        for name, categories in self.categories.items():
            codes, texts = filled(table, name, rows)
            of_text = {text: place + i for i, text in enumerate(categories)}
            columns = np.array([of_text.get(text, -1) for text in texts])[codes]
            known = np.flatnonzero(columns >= 0)
            encoded[known, columns[known]] = 1
            place += len(categories)
        return torch.from_numpy(encoded)

    def unknown(self, table: Columns, rows: np.ndarray) -> Iterator[Unknown]:
        """The columns with categories that no fitted row had; they are all zeros."""
        for name, categories in self.categories.items():
            codes, texts = filled(table, name, rows)
            strange = np.array([text not in categories for text in texts])
            if count := int(strange[codes].sum()):
                yield Unknown(name, count, texts[int(np.flatnonzero(strange)[0])])

    def described(self) -> list[str]:
        """The categorical columns with their number of values."""
        return [f"{name} ({len(values)})" for name, values in self.categories.items()]


def say_unknown(path: object, found: Sequence[Unknown], total: int, from_share: float) -> None:
    """A warning for each column whose categories are unknown in more than a share of the rows."""
    for name, rows, example in found:
        if rows > from_share * total:
            log.warning("%s: column %r: %d of %d rows have categories that no training row has, such as %r",
                        path, name, rows, total, example)  # fmt: skip


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
