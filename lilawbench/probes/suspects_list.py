"""suspects.csv: rows from the most to the least suspicious, by the names that a person knows them by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.support.atomic import replacing

FIRST = 1000  # rows of a table that suspects_rows.csv repeats with their own columns
DIGITS = 6  # significant ones, of a score
# columns of suspects.csv; all others are scores
ABOUT = ("rank", "row", "line", "given", "suggested", "suggested_prob", "probably_wrong", "score")
WAYS = {"confident": "confident learning", "gmm": "GMM on losses"}  # of estimating how many labels are wrong

Column = Sequence | np.ndarray


@dataclass(frozen=True)
class Suspected:
    """Rows with their scores and suggested labels, the most suspicious first."""

    rows: np.ndarray  # [n] int64, numbers as `Labels` has them
    given: np.ndarray  # [n] int64, the observed class
    suggested: np.ndarray  # [n] int64, the most probable other class
    prob: np.ndarray  # [n], its probability
    scores: Mapping[str, np.ndarray]  # [n] by detector, larger = more likely to be wrong
    score: str  # the one that ranks
    estimates: Mapping[str, int]  # how many labels are probably wrong, by way of telling
    likeliest: int = 0  # of the rows above the threshold, those whose given label is the most probable nevertheless

    @property
    def count(self) -> int | None:
        """How many of the first rows are above the threshold; None: nobody can tell."""
        return next(iter(self.estimates.values()), None)

    @property
    def way(self) -> str | None:
        """By which way of telling."""
        return next((WAYS.get(way, way) for way in self.estimates), None)

    def told(self, source: Source) -> str:
        """How many labels are probably wrong, and which is the first, in a line."""
        names = source.class_names
        first = f"first: {called(row_names(source, self.rows[:1])[0])}, "
        first += f"given {names[self.given[0]]}, rather {names[self.suggested[0]]}"
        if self.count is None:
            return first
        others = [f"; {count:,} by {WAYS.get(way, way)}" for way, count in self.estimates.items()][1:]
        if self.likeliest:
            others.append(f"; for {self.likeliest:,} of the {self.count:,} the given label is the likeliest yet")
        about = f"about {self.count:,} of {len(self.rows):,} labels are probably wrong ({self.way}{''.join(others)})"
        return f"{about}; {first}"


def row_names(source: Source, rows: np.ndarray) -> list[str]:
    """What a person calls labelled rows: their names in the data, or their numbers from 0."""
    ids = source.labelled_ids
    return list(map(str, rows.tolist())) if ids is None else ids[rows].tolist()


def called(name: str) -> str:
    """A row's name within a sentence: row 7, patient7."""
    return f"row {name}" if name.isdigit() else name


def write_list(path: Path, listed: Suspected, source: Source) -> None:
    """Writes a CSV of all rows, with the ranking score as `score`, then all scores. Raises: DiskError."""
    scores = {name: shortened(values) for name, values in listed.scores.items()}
    _write(path, {**_start(listed, source), "score": scores[listed.score], **scores})


def write_rows(path: Path, listed: Suspected, source: Source) -> None:
    """Writes a CSV of the first 1,000 rows of a table with its own columns; nothing of other data.

    Raises:
        DataError: the table cannot be read again. DiskError.
    """
    lines = _lines(source, listed.rows[:FIRST])
    if lines is None or source.columns is None:
        return
    start = {name: values[:FIRST] for name, values in _start(listed, source).items()}
    own: dict[str, Column] = {
        name if name not in start else f"{name} (data)": values for name, values in source.columns(lines).items()
    }
    _write(path, {**start, **own})


def _start(listed: Suspected, source: Source) -> dict[str, Column]:
    """The first columns, by which a person knows a row."""
    names, rows = np.array(source.class_names, dtype=object), listed.rows
    start: dict[str, Column] = {"rank": np.arange(1, len(rows) + 1), "row": row_names(source, rows)}
    if (lines := _lines(source, rows)) is not None:
        start["line"] = lines
    start |= {"given": names[listed.given], "suggested": names[listed.suggested]}
    start["suggested_prob"] = shortened(listed.prob)
    if listed.count is not None:
        start["probably_wrong"] = (np.arange(len(rows)) < listed.count).astype(np.int8)
    return start


def _lines(source: Source, rows: np.ndarray) -> np.ndarray | None:
    return None if source.train_lines is None else source.train_lines[rows]


def shortened(values: np.ndarray) -> np.ndarray:
    """The same, [n] float64, to six significant digits."""
    wide = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(wide)))
    exponent = np.where(np.isfinite(exponent), exponent, 0).clip(-200, 200)
    power = 10.0 ** (DIGITS - 1 - exponent)
    return np.round(wide * power) / power


def _write(path: Path, columns: Mapping[str, Column]) -> None:
    """A CSV of columns of equal length; Arrow writes a million rows of twenty numbers in seconds."""
    import pyarrow
    from pyarrow import csv

    table = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
    with replacing(path) as file:
        csv.write_csv(table, file)
