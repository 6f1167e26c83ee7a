"""Labels from a file: those of an earlier run, or somebody else's."""

import csv
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.errors import DataError

SUFFIXES = (".npz", ".npy", ".csv", ".txt")
ENDS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # what a damaged archive raises


class File:
    """Replays observed labels, one per training row in the data set's order. Every seed has the same ones.

    Where the file has clean labels too (an array or column `clean`, as a run's labels.npz), they must be the data
    set's: that the rows are the same is then certain.

    Args:
        path: a run's folder (its labels.npz), or a file: .npz, .npy, or text (.csv, .txt) with one row per line, with
            or without a header.
        column: the array of a .npz or the column of a text file: its name, or without a header its number from 0;
            None: `observed`, or the only one.
    Raises:
        ValueError: the path is not there, or of another kind.
    """

    def __init__(self, path: str, column: str | int | None = None):
        self.path, self.column = Path(path).expanduser(), column
        if self.path.is_dir():
            self.path /= "labels.npz"
        if not self.path.is_file():
            raise ValueError(f"path {self.path} does not exist (it is looked for from {Path.cwd()})")
        if self.path.suffix not in SUFFIXES:
            raise ValueError(f"path {self.path} must end in one of {', '.join(SUFFIXES)}")

    def __call__(self, clean: np.ndarray, num_classes: int, generator: np.random.Generator) -> np.ndarray:
        """Observed labels, [N] int64.

        Args:
            clean: labels, [N] int64 in 0..K-1. Not modified.
        Raises:
            DataError: the file is damaged, has no such column, another number of rows, a label outside 0..K-1, or
                clean labels that are not the data set's.
        """
        is_text = self.path.suffix in (".csv", ".txt")
        columns = _read_text(self.path) if is_text else _read_arrays(self.path)
        observed = _labels(self.path, columns, _chosen(self.path, columns, self.column))
        if len(observed) != len(clean):
            raise DataError(f"{self.path} has {len(observed)} labels; the data set has {len(clean)} rows")
        wrong = np.flatnonzero((observed < 0) | (observed >= num_classes))
        if len(wrong):
            raise DataError(
                f"{self.path}, {columns.place(wrong[0])}: label {observed[wrong[0]]}; it must lie in "
                f"0..{num_classes - 1} ({len(wrong)} such label{'s' * (len(wrong) > 1)})"
            )
        if "clean" in columns.values and not np.array_equal(kept := _labels(self.path, columns, "clean"), clean):
            row = np.flatnonzero(kept != clean)[0]
            raise DataError(
                f"{self.path}, {columns.place(row)}: clean label {kept[row]} where the data set has {clean[row]}: "
                "these are labels of other rows"
            )
        return observed


class Columns(NamedTuple):
    """Columns by name, or by number where nothing names them."""

    values: dict[str | int, Sequence[str] | np.ndarray]
    first_line: int | None = None  # of a text file's values, from 1

    def place(self, row: int) -> str:
        return f"row {row}" if self.first_line is None else f"line {row + self.first_line}"


def _chosen(path: Path, columns: Columns, column: str | int | None) -> str | int:
    names = list(columns.values)
    if column is None:
        column = "observed" if "observed" in names else names[0] if len(names) == 1 else None
    if column not in names:
        has = f"{path} has {', '.join(map(str, names)) or 'nothing in it'}"
        raise DataError(f"{has}: choose with noise.column" if column is None else f"{has}, but no column {column}")
    return column


def _read_arrays(path: Path) -> Columns:
    try:
        with path.open("rb") as file:  # np.load leaves a damaged archive open
            content = np.load(file, allow_pickle=False)
            return Columns({0: content} if isinstance(content, np.ndarray) else dict(content))
    except ENDS as error:  # a pickled array is refused as ValueError
        raise DataError(f"{path} cannot be read: {error}") from error


def _read_text(path: Path) -> Columns:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise DataError(f"{path} is empty")
    first = [cell.strip() for cell in rows[0]]
    has_header = not all(_is_number(cell) for cell in first)
    for line, row in enumerate(rows, start=1):
        if len(row) != len(first):
            raise DataError(f"{path}, line {line}: {len(row)} columns, line 1 has {len(first)}")
    values = zip(*rows[has_header:], strict=True) if len(rows) > has_header else [()] * len(first)
    names = first if has_header else range(len(first))
    return Columns(dict(zip(names, values, strict=True)), first_line=1 + has_header)


def _labels(path: Path, columns: Columns, column: str | int) -> np.ndarray:
    """A column as whole numbers, [N] int64."""
    values = np.asarray(columns.values[column])
    if values.ndim != 1:
        raise DataError(f"{path}: labels must be one list [N], they are {list(values.shape)}")
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        bad = next(i for i, value in enumerate(values.tolist()) if not _is_number(value))
        raise DataError(f"{path}, {columns.place(bad)}: {values[bad]!s:.40} is no class number") from None
    broken = np.flatnonzero(~(np.isfinite(numbers) & (numbers == np.floor(numbers))))
    if len(broken):
        raise DataError(f"{path}, {columns.place(broken[0])}: {values[broken[0]]} is no class number")
    return numbers.astype(np.int64)


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
