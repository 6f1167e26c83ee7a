"""Labels from a file: those of an earlier run, or of any other source."""

import csv
import difflib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.noise.classes import is_number, named
from lilawbench.noise.label_arrays import labels_in, read_arrays
from lilawbench.noise.row_names import NAMES, name_column, rows_named
from lilawbench.support.errors import DataError, closest
from lilawbench.tasks import ALL, fits

log = logging.getLogger("lilawbench")
CORRECTED = "corrected"  # the column of labels that are to be right, rather than to have noise
SUFFIXES = (".npz", ".npy", ".pt", ".csv", ".txt")


@fits(*ALL)
class File:
    """Replays observed labels of any task, one per training row. Every seed has the same ones.

    Rows are found by their names, where the file has a column `id` (an array `ids`) or any other that holds them all;
    it may then have more rows, in any order. Without names they are in the order of the training rows. Where the file
    has clean labels too (an array or column `clean`, as a run's labels.npz), they must be the data set's, which proves
    that the rows are the same.

    Args:
        path: a run's folder (its labels.npz) or another with two lists of labels (label_arrays.FOLDERS); or a file:
            .npz, .npy, .pt (tensors or arrays by name), or text (.csv, .txt) with one row per line, with or without a
            header, which may name the classes. Several labels a sample are an array [N, K], or a text file of K
            columns, of 0 and 1.
        column: the array of a .npz or .pt or the column of a text file: its name, or without a header its number from
            0; None: `observed`, or the only one beside the names.
    Raises:
        ValueError: the path does not exist, or is of another kind.
    """

    def __init__(self, path: str, column: str | int | None = None):
        self.path, self.column = Path(path).expanduser(), column
        if self.path.is_dir():
            self.path = labels_in(self.path)
        if not self.path.is_file():
            raise ValueError(f"path {self.path} does not exist (relative paths start at {Path.cwd()})")
        if self.path.suffix not in SUFFIXES:
            raise ValueError(f"path {self.path} must end in one of {', '.join(SUFFIXES)}")
        self.corrects = self.path.suffix == ".csv" and column in (None, CORRECTED) and CORRECTED in _header(self.path)

    def __call__(
        self,
        clean: np.ndarray,
        num_classes: int,
        generator: np.random.Generator,
        class_names: Sequence[str] = (),
        ids: np.ndarray | None = None,
        drawn_test: int = 0,
    ) -> np.ndarray:
        """Observed labels, of the shape and type of `clean`.

        Args:
            clean: labels as `Source` has them: [N] int64 in 0..K-1, [N, K] int64 of 0 and 1, [N] float. Not modified.
            class_names: of the data set; a text file may have them in place of class numbers.
            ids: names of the rows, [N] str; None: their numbers from 0.
            drawn_test: test rows that were drawn from the user's rows, and are not among these.
        Raises:
            DataError: the file is damaged, has no such column, lacks a row, has another number of rows and no names, a
                label outside 0..K-1, or clean labels that are not the data set's.
        """
        is_text = self.path.suffix in (".csv", ".txt")
        of_classes = clean.ndim == 1 and clean.dtype.kind != "f"
        words = class_names if of_classes else ()
        columns = (
            _read_text(self.path, words, ids, self.column, len(clean)) if is_text else Columns(read_arrays(self.path))
        )
        columns = self._in_order(columns, len(clean), ids, drawn_test, several=clean.shape[1:])
        if is_text and clean.ndim == 2 and self.column is None:
            columns = columns._replace(values={"observed": np.stack(list(columns.values.values()), axis=1)})
        chosen = _chosen(self.path, columns, self.column)
        if is_text and of_classes:
            columns = _with_numbers(self.path, columns, class_names, chosen)
        observed = _labels(self.path, columns, chosen, clean)
        if observed.shape != clean.shape:
            size = _sized(observed) + ("" if columns.header is None else f" below its header ({columns.header})")
            raise DataError(f"{self.path} has {size}; the data set has {_sized(clean)}{columns.hint}")
        if columns.hint and "clean" not in columns.values:
            log.warning("%s: labels are taken in the order of the data set's rows%s", self.path, columns.hint)
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

    def _in_order(
        self, columns: "Columns", count: int, ids: np.ndarray | None, drawn_test: int, several: tuple[int, ...]
    ) -> "Columns":
        """The columns without that of the names, with the data set's rows in its order where the names tell them."""
        names, key, hint = np.arange(count).astype(str) if ids is None else ids, None, ""
        if len(columns.values) != sum(several):  # else every column is one of several labels
            key = name_column(columns.values, ids, {self.column, "observed", "clean"})
        if key is not None:
            there = columns.values[key]
            values = {name: values for name, values in columns.values.items() if name != key}
            rows = rows_named(there, names, f"{self.path}, column {key}", needed=ids is not None)
            if rows is not None:
                if len(rows) != len(there) or (np.diff(rows) < 0).any():
                    log.info("%s: %d labels found by column %s; %d other rows are not used",
                             self.path, count, key, len(there) - count)  # fmt: skip
                arrays = {name: np.asarray(array) for name, array in values.items()}
                values = {name: array[rows] for name, array in arrays.items() if array.shape[:1] == (len(there),)}
                return columns._replace(values=values, rows=rows)
            columns = columns._replace(values=values)
            if ids is not None:
                hint = f"; its column {key} has no row's name, such as {names[0]}"
        if drawn_test:
            hint = (
                f", those left after {drawn_test} were drawn as test rows: give a column id with the rows' names, such "
                f"as {names[0]} (labels.npz of any run of these data has them as ids), or test data of your own{hint}"
            )
        return columns._replace(hint=hint)

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


def _header(path: Path) -> list[str]:
    """The values of the first line of a text."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            return [cell.strip() for cell in next(csv.reader(file), [])]
    except (OSError, csv.Error):  # reading it will tell
        return []


class Columns(NamedTuple):
    """Columns by name, or by number where nothing names them."""

    values: Mapping[str | int, Sequence[str] | np.ndarray]
    first_line: int | None = None  # of a text file's values, from 1
    header: str | None = None  # of a text file
    rows: np.ndarray | None = None  # [N], where the values stand in the file; None: as they are here
    hint: str = ""  # what makes the order of the rows uncertain

    def place(self, row: int) -> str:
        row = row if self.rows is None else int(self.rows[row])
        return f"row {row}" if self.first_line is None else f"line {row + self.first_line}"


def _chosen(path: Path, columns: Columns, column: str | int | None) -> str | int:
    names = list(columns.values)
    if column is None:
        column = "observed" if "observed" in names else names[0] if len(names) == 1 else None
    if column not in names:
        has = f"{path} has {', '.join(map(str, names)) or 'nothing in it'}"
        raise DataError(f"{has}: choose with noise.column" if column is None else f"{has}, but no column {column}")
    return column


def _with_numbers(path: Path, columns: Columns, class_names: Sequence[str], chosen: str | int) -> Columns:
    """Names of classes replaced by their numbers, in the chosen column and in `clean`."""
    values = dict(columns.values)
    for key in {chosen, "clean"} & values.keys():
        try:
            values[key] = named(np.asarray(values[key]), class_names)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        if any(map(is_number, class_names)):
            continue
        words = [str(word).strip() for word in values[key]]
        for word in dict.fromkeys(words):
            if not _is_number(word) and difflib.get_close_matches(word, class_names, n=1):
                place = columns.place(words.index(word))
                raise DataError(f"{path}, {place}: {word} is no class; {closest(word, class_names)}")
    return columns._replace(values=values)


def _read_text(
    path: Path, class_names: Sequence[str], ids: np.ndarray | None, column: str | int | None, count: int
) -> Columns:
    """Args: class_names: none, if the labels are no classes. ids, count: names and number of the data set's rows."""
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
    for line, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row):
            raise DataError(f"{path}, line {line} has no label")
        if len(row) != len(first):
            raise DataError(f"{path}, line {line}: {len(row)} columns, line 1 has {len(first)}")
    known = {*class_names, *([] if ids is None else ids.tolist())}
    has_header = not all(map(_is_number, first)) and known.isdisjoint(first)
    if has_header and len(rows) != count + 1 and not {*NAMES, "observed", "clean", column} & set(first):
        _check_header(path, first, rows[1:], class_names)
    values = zip(*rows[has_header:], strict=True) if len(rows) > has_header else [()] * len(first)
    names = first if has_header else range(len(first))
    return Columns(dict(zip(names, values, strict=True)), 1 + has_header, ",".join(first) if has_header else None)


def _check_header(path: Path, first: Sequence[str], rows: Sequence[Sequence[str]], class_names: Sequence[str]) -> None:
    """Raises: DataError, what was taken for a header is a class with a slip in its name."""
    for word, *below in zip(first, *rows):
        if difflib.get_close_matches(word, class_names, n=1) and {cell.strip() for cell in below} <= {*class_names}:
            raise DataError(f"{path}, line 1: {word} is no class; {closest(word, class_names)}")


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
        if not str(word).strip():
            raise DataError(f"{path}, {columns.place(at[0])} has no label") from None
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
