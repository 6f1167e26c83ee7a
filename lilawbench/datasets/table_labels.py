"""The labels of a table: classes by name and number, or values to predict."""

import logging
from collections.abc import Sequence

import numpy as np

from lilawbench.datasets.columns import Columns, listed
from lilawbench.datasets.kinds import advice, different
from lilawbench.datasets.spelling import alike
from lilawbench.support.errors import DataError
from lilawbench.support.natural import natural

log = logging.getLogger("lilawbench")

MOST_CLASSES = 0.5  # of the rows: more are no classes


def labelled(table: Columns, column: str, drop: bool) -> Columns:
    """The rows with a label in `column`.

    Raises:
        DataError: some have none, and `drop` is not set.
    """
    if not (gone := table.is_missing(column)).any():
        return table
    words = ""
    if column in table.gone:
        words = (
            f": {listed(table.gone[column])}, missing by dataset.missing; if a class is called so, shorten that list"
        )
    if gone.all():
        raise DataError(f"{table.path}: column {column!r} has no label{words}; name another dataset.label")
    first = np.flatnonzero(gone)[0]
    if not drop:
        raise DataError(
            f"{table.at(first)}: no label in column {column!r} ({gone.sum()} such rows{words}). "
            "dataset.drop_unlabelled=true leaves them out"
        )
    log.warning("%s: %d rows without a label in column %r are left out%s", table.path, gone.sum(), column, words)
    return table.keep(np.flatnonzero(~gone))


def classes(table: Columns, columns: Sequence[str]) -> tuple[str, ...]:
    """The class names of some columns: numbers in their order, then texts, numbers in them by their value.

    Raises:
        DataError: one class only; so many that they are rather values.
    """
    found = {text for column in columns for text in table.texts(column)[1]}
    if len(found) < 2:
        raise DataError(
            f"{table.path}: column {columns[0]!r} has one label only, {found.pop()!r}; name another dataset.label"
        )
    names = tuple(sorted(found, key=natural))
    if len(names) > max(2, MOST_CLASSES * len(table)):
        what = "if they are values to predict: dataset.task=regression loss=squared; else " * all(
            np.isfinite(table.spelling.number(name)) for name in names
        )
        raise DataError(
            f"{table.path}: column {columns[0]!r} has {len(names)} different labels in {len(table)} rows; {what}name "
            "another dataset.label"
        )
    if groups := alike(names):
        log.warning("%s: column %r: %s", table.path, columns[0], different(groups, "classes"))
    return names


def numbered(table: Columns, column: str, names: Sequence[str]) -> np.ndarray:
    """A column of labels as class numbers [N] int64.

    Raises:
        DataError: a label is missing, or none of `names`.
    """
    _need_all(table, column)
    number = {name: i for i, name in enumerate(names)}
    codes, texts = table.texts(column)
    labels = np.array([number.get(text, -1) for text in texts], dtype=np.int64)[codes]
    if len(strange := np.flatnonzero(labels < 0)):
        raise DataError(
            f"{table.at(strange[0])}: label {table.text(column, strange[0])!r} in column {column!r} is none of the "
            f"training labels {listed(names)} ({len(strange)} such rows)"
        )
    return labels


def values(table: Columns, column: str) -> np.ndarray:
    """A column of values to predict, [N] float32.

    Raises:
        DataError: one is missing, or not a finite number.
    """
    _need_all(table, column)
    found, wrong = table.numbers(column)
    if len(wrong):
        text = table.text(column, wrong[0])
        raise DataError(
            f"{table.at(wrong[0])}: {text!r} in column {column!r} is not a finite number ({len(wrong)} such rows); "
            f"dataset.task=regression needs numbers. {advice([text], table.spelling.decimal).removesuffix('Else ')}"
        )
    return found.astype(np.float32)


def _need_all(table: Columns, column: str) -> None:
    if len(gone := np.flatnonzero(table.is_missing(column))):
        raise DataError(
            f"{table.at(gone[0])}: no label in column {column!r} ({len(gone)} such rows; dataset.missing lists what "
            "counts as missing)"
        )
