"""A table file of a user's own, CSV or Parquet, as columns of text with the line of each row."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lilawbench.errors import DataError

MOST_NAMED = 10  # things that one message lists


@dataclass(frozen=True)
class Columns:
    """The content of a table file.

    Args:
        text: per column [N] of str, stripped; "" where a value is missing.
        lines: where each row stands, [N] int64: line of the CSV, row of the Parquet, from 1.
        unit: "line" | "row".
    """

    path: Path
    text: dict[str, np.ndarray]
    lines: np.ndarray
    unit: str

    def __len__(self) -> int:
        return len(self.lines)

    def at(self, row: int) -> str:
        """The place of a row, for a message: "a.csv, line 7"."""
        return f"{self.path}, {self.unit} {self.lines[row]}"

    def need(self, names: Sequence[str], option: str) -> None:
        """Raises: DataError, listing the columns, if one of `names` is none of them."""
        if wrong := [name for name in names if name not in self.text]:
            raise DataError(
                f"{self.path} has no column {listed(wrong)} ({option}); its columns are {', '.join(self.text)}"
            )

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column as numbers, [N] float64 with NaN where missing; and the rows that hold something else."""
        import pandas

        text = self.text[name]
        values = pandas.to_numeric(pandas.Series(text, dtype=object), errors="coerce").to_numpy(np.float64)
        return values, np.flatnonzero((text != "") & ~np.isfinite(values))


def read_columns(path: Path, delimiter: str = ",", missing: Sequence[str] = ()) -> Columns:
    """Reads path by its ending: .parquet or .pq, or else text of values between delimiters under a line of names.

    Args:
        delimiter: of a text file; one that ends in .tsv has tabs.
        missing: what counts as no value, beside an empty one.
    Raises:
        DataError: no such file, not a table, a line of another length than the first, a name twice, no rows, pyarrow
            not installed.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path} (dataset.path is taken as it is, then below paths.data_dir)")
    reader = _read_parquet if path.suffix in (".parquet", ".pq") else _read_text
    names, rows, lines, unit = reader(path, "\t" if path.suffix == ".tsv" else delimiter)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has more than one column {listed(repeated)}: columns need different names")
    if not len(lines):
        raise DataError(f"{path} has no rows below its column names" if names else f"{path} is empty")
    text = {}
    for name, values in zip(names, rows, strict=True):
        column = np.array([value.strip() for value in values], dtype=object)
        column[np.isin(column, list(missing))] = ""
        text[name] = column
    return Columns(path, text, np.asarray(lines), unit)


def listed(names: Sequence[str]) -> str:
    """The first few of a list, quoted."""
    shown = ", ".join(repr(str(name)) for name in names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"


def _read_text(path: Path, delimiter: str) -> tuple[list[str], list, list[int], str]:
    names, rows, lines = [], [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            start = reader.line_num + 1
            for row in reader:
                if any(value.strip() for value in row):  # else an empty line
                    if len(row) != len(names):
                        raise DataError(f"{path}, line {start}: {len(row)} values, but {len(names)} column names")
                    rows.append(row)
                    lines.append(start)
                start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return names, list(zip(*rows)) or [()] * len(names), lines, "line"


def _read_parquet(path: Path, _: str) -> tuple[list[str], list, range, str]:
    import pandas

    try:
        frame = pandas.read_parquet(path, engine="pyarrow")
    except ImportError as error:
        raise DataError(f"{path}: reading Parquet needs pyarrow (pip install pyarrow), or give a CSV file") from error
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise DataError(f"{path} is not a Parquet file: {error}") from error
    columns = [["" if gone else str(v) for v, gone in zip(frame[c], frame[c].isna())] for c in frame.columns]
    return [str(name) for name in frame.columns], columns, range(1, len(frame) + 1), "row"
