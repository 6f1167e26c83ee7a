"""Labels from a file: those of an earlier run, or of any other source."""

import csv
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.noise.classes import named
from lilawbench.support.errors import DataError
from lilawbench.tasks import ALL, fits

SUFFIXES = (".npz", ".npy", ".csv", ".txt")
BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # what a damaged archive raises


@fits(*ALL)
class File:
    """Replays observed labels of any task, one per training row in the data set's order. Every seed has the same ones.

    Where the file has clean labels too (an array or column `clean`, as a run's labels.npz), they must be the data
    set's, which proves that the rows are the same.

    Args:
        path: a run's folder (its labels.npz), or a file: .npz, .npy, or text (.csv, .txt) with one row per line, with
            or without a header, which may name the classes. Several labels a sample are an array [N, K], or a text file
            of K columns, of 0 and 1.
        column: the array of a .npz or the column of a text file: its name, or without a header its number from 0;
            None: `observed`, or the only one.
    Raises:
        ValueError: the path does not exist, or is of another kind.
    """

    def __init__(self, path: str, column: str | int | None = None):
        self.path, self.column = Path(path).expanduser(), column
        if self.path.is_dir():
            self.path /= "labels.npz"
        if not self.path.is_file():
            raise ValueError(f"path {self.path} does not exist (relative paths start at {Path.cwd()})")
        if self.path.suffix not in SUFFIXES:
            raise ValueError(f"path {self.path} must end in one of {', '.join(SUFFIXES)}")

    def __call__(
        self, clean: np.ndarray, num_classes: int, generator: np.random.Generator, class_names: Sequence[str] = ()
    ) -> np.ndarray:
        """Observed labels, of the shape and type of `clean`.

        Args:
            clean: labels as `Source` has them: [N] int64 in 0..K-1, [N, K] int64 of 0 and 1, [N] float. Not modified.
            class_names: of the data set; a text file may have them in place of class numbers.
        Raises:
            DataError: the file is damaged, has no such column, another number of rows, a label outside 0..K-1, or
                clean labels that are not the data set's.
        """
        is_text = self.path.suffix in (".csv", ".txt")
        columns = _read_text(self.path, class_names) if is_text else _read_arrays(self.path)
        if is_text and clean.ndim == 2 and self.column is None:
            columns = columns._replace(values={"observed": np.stack(list(columns.values.values()), axis=1)})
        if is_text and clean.ndim == 1 and clean.dtype.kind != "f":
            columns = _with_numbers(self.path, columns, class_names, _chosen(self.path, columns, self.column))
        observed = _labels(self.path, columns, _chosen(self.path, columns, self.column), clean)
        if observed.shape != clean.shape:
            raise DataError(f"{self.path} has {_sized(observed)}; the data set has {_sized(clean)}")
        if clean.dtype.kind != "f":
            highest = 1 if clean.ndim == 2 else num_classes - 1
            wrong = np.argwhere((observed < 0) | (observed > highest))
            if len(wrong):
                raise DataError(
                    f"{self.path}, {columns.place(wrong[0][0])}: label {observed[tuple(wrong[0])]}; it must lie in "
                    f"0..{highest} ({len(wrong)} such label{'s' * (len(wrong) > 1)})"
                )
        if "clean" in columns.values:
            self._check_rows(_labels(self.path, columns, "clean", clean), clean, columns)
        return observed

    def _check_rows(self, kept: np.ndarray, clean: np.ndarray, columns: "Columns") -> None:
        if kept.shape != clean.shape:
            raise DataError(f"{self.path} has {_sized(kept)} in `clean`; the data set has {_sized(clean)}")
        differ = np.argwhere(~np.isclose(kept, clean, rtol=1e-5))  # values in a text file are rounded
        if len(differ):
            at = tuple(differ[0])
            raise DataError(
                f"{self.path}, {columns.place(at[0])}: clean label {kept[at]} where the data set has {clean[at]}: "
                "these are labels of other rows"
            )


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
    except BROKEN as error:  # a pickled array is refused as ValueError
        raise DataError(f"{path} cannot be read: {error}") from error


def _with_numbers(path: Path, columns: Columns, class_names: Sequence[str], chosen: str | int) -> Columns:
    """Names of classes replaced by their numbers, in the chosen column and in `clean`."""
    values = dict(columns.values)
    for key in {chosen, "clean"} & values.keys():
        try:
            values[key] = named(np.asarray(values[key]), class_names)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
    return columns._replace(values=values)


def _read_text(path: Path, class_names: Sequence[str]) -> Columns:
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
    has_header = not all(map(_is_number, first)) and set(first).isdisjoint(class_names)
    for line, row in enumerate(rows, start=1):
        if len(row) != len(first):
            raise DataError(f"{path}, line {line}: {len(row)} columns, line 1 has {len(first)}")
    values = zip(*rows[has_header:], strict=True) if len(rows) > has_header else [()] * len(first)
    names = first if has_header else range(len(first))
    return Columns(dict(zip(names, values, strict=True)), first_line=1 + has_header)


def _labels(path: Path, columns: Columns, column: str | int, clean: np.ndarray) -> np.ndarray:
    """A column in the type of `clean` and with as many axes."""
    values = np.asarray(columns.values[column])
    if values.ndim != clean.ndim:
        wanted = "0 and 1 [N, K]" if clean.ndim == 2 else "one list [N]"
        raise DataError(f"{path}: labels must be {wanted}, they are {list(values.shape)}")
    kind = "number" if clean.dtype.kind == "f" else "class number" if clean.ndim == 1 else "label, 0 or 1"
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        at, word = next((at, value) for at, value in np.ndenumerate(values) if not _is_number(value))
        raise DataError(f"{path}, {columns.place(at[0])}: {word!s:.40} is not a {kind}") from None
    broken = np.argwhere(~(np.isfinite(numbers) & ((kind == "number") | (numbers == np.floor(numbers)))))
    if len(broken):
        raise DataError(f"{path}, {columns.place(broken[0][0])}: {values[tuple(broken[0])]} is not a {kind}")
    return numbers.astype(clean.dtype)


def _sized(labels: np.ndarray) -> str:
    return f"{len(labels)} rows" if labels.ndim == 1 else f"{len(labels)} rows of {labels.shape[1]} labels"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except (TypeError, ValueError):
        return False
    return True
