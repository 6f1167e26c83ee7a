"""A table file of a user's own, CSV or Parquet, held by Arrow: a million rows of forty columns in half a GB."""

import csv
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import pyarrow

MOST_NAMED = 10  # names listed in one message
CHUNK_BYTES = 2**24


@dataclass(frozen=True)
class Columns:
    """The content of a table file.

    Args:
        arrays: per column [N] of stripped strings, or of numbers; null where a value is missing.
        delimiter: of a CSV; None: Parquet.
    """

    path: Path
    arrays: "dict[str, pyarrow.Array]"
    delimiter: str | None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @cached_property
    def lines(self) -> np.ndarray:
        """The place of each row in the file, [N] int64 from 1: line of the CSV, which is read again, or Parquet row."""
        if self.delimiter is None:
            return np.arange(1, len(self) + 1)
        rows = _rows(self.path, self.delimiter)
        next(rows)
        return np.array([line for line, _ in rows])

    def at(self, row: int) -> str:
        """The place of a row, for a message: "a.csv, line 7"."""
        return f"{self.path}, {'row' if self.delimiter is None else 'line'} {self.lines[row]}"

    def need(self, names: Sequence[str], option: str) -> None:
        """Raises: DataError, listing the columns, if one of `names` is none of them."""
        if wrong := [name for name in names if name not in self.arrays]:
            raise DataError(
                f"{self.path} has no column {listed(wrong)} ({option}); its columns are {', '.join(self.arrays)}"
            )

    def texts(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A column as numbers of its different texts, [N] int32, and these texts; "" stands for a missing value."""
        import pyarrow.compute as pc

        coded = pc.dictionary_encode(self.arrays[name], null_encoding="encode")
        values = ["" if value is None else str(value) for value in coded.dictionary.to_pylist()]
        return coded.indices.to_numpy(zero_copy_only=False), values

    def text(self, name: str, row: int) -> str:
        """One value; "" if it is missing."""
        value = self.arrays[name][row].as_py()
        return "" if value is None else str(value)

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column as numbers, [N] float64 with NaN where missing; and the rows that hold anything else."""
        import pandas
        import pyarrow

        array = self.arrays[name]
        try:
            values = array.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        except pyarrow.ArrowInvalid:  # some are not, or in a notation that only pandas reads
            codes, texts = self.texts(name)
            parsed = pandas.to_numeric(pandas.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
            values = parsed[codes]
        there = array.is_valid().to_numpy(zero_copy_only=False)
        return values, np.flatnonzero(there & ~np.isfinite(values))


def read_columns(path: Path, delimiter: str = ",", missing: Sequence[str] = ()) -> Columns:
    """Reads a file by its ending: .parquet or .pq, else text of delimited values below a line of names.

    Args:
        delimiter: of a text file; a .tsv has tabs.
        missing: what counts as missing, besides an empty value.
    Raises:
        DataError: no such file, not a table, a line of another length than the first, a name twice, no rows, pyarrow
            not installed.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path} (dataset.path is taken as it is, then below paths.data_dir)")
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError(f"{path}: reading tables needs pyarrow (pip install pyarrow)")
    is_parquet = path.suffix in (".parquet", ".pq")
    delimiter = "\t" if path.suffix == ".tsv" else delimiter
    names, columns = _read_parquet(path) if is_parquet else _read_text(path, delimiter)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has more than one column {listed(repeated)}: columns need different names")
    if not columns or not len(columns[0]):
        raise DataError(f"{path} has no rows below its column names" if names else f"{path} is empty")
    arrays = {}
    for name in names:
        arrays[name] = _cleaned(columns.pop(0), missing)
    return Columns(path, arrays, None if is_parquet else delimiter)


def release_memory() -> None:
    """Returns Arrow's freed memory to the system: the split that follows copies the table once more."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def listed(names: Sequence[str]) -> str:
    """The first few of a list, quoted."""
    shown = ", ".join(repr(str(name)) for name in names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"


def _cleaned(column: "pyarrow.ChunkedArray", missing: Sequence[str]) -> "pyarrow.Array":
    """Stripped, in one piece, null where nothing or one of `missing` stands."""
    import pyarrow
    import pyarrow.compute as pc

    if pyarrow.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        gone = pc.is_in(column, value_set=pyarrow.array(["", *missing], pyarrow.string()))
    else:
        numbers = [number for text in [*missing, "nan"] if (number := _number(text, column.type)) is not None]
        gone = pc.is_in(column, value_set=pyarrow.array(numbers, column.type))
    column = pc.if_else(gone, pyarrow.scalar(None, column.type), column) if pc.any(gone).as_py() else column
    return column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column


def _number(text: str, kind: "pyarrow.DataType") -> float | None:
    """The number of that kind with this notation; None: there is none."""
    import pyarrow

    try:
        number = (int if pyarrow.types.is_integer(kind) else float)(text)
        return pyarrow.scalar(number, kind).as_py() if str(number) == text else None
    except (ValueError, OverflowError):
        return None


def _read_text(path: Path, delimiter: str) -> "tuple[list[str], list[pyarrow.ChunkedArray]]":
    """Read by Arrow; if that fails, by Python's csv reader, which says what is wrong and where."""
    import pyarrow
    import pyarrow.compute as pc
    from pyarrow import csv as arrow_csv

    try:
        if _open_quote(path):
            raise pyarrow.ArrowInvalid
        parse = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        names = arrow_csv.open_csv(path, parse_options=parse).schema.names
        types = dict.fromkeys(names, pyarrow.string())
        convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        table = arrow_csv.read_csv(path, parse_options=parse, convert_options=convert)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowKeyError):
        rows = _rows(path, delimiter)
        _, names = next(rows, (0, []))
        columns = list(zip(*(row for _, row in rows))) or [()] * len(names)
        return [name.strip() for name in names], [pyarrow.array(column, pyarrow.string()) for column in columns]
    columns = table.columns
    blank = None  # rows without any value are skipped
    for column in columns:
        empty = pc.equal(pc.utf8_trim_whitespace(column), "")
        blank = empty if blank is None else pc.and_(blank, empty)
        if not pc.any(blank).as_py():
            break
    else:
        columns = [column.filter(pc.invert(blank)) for column in columns] if columns else []
    return [name.strip() for name in names], columns


def _open_quote(path: Path) -> bool:
    """Whether a quote is left open, which Arrow accepts."""
    with path.open("rb") as file:
        return sum(chunk.count(b'"') for chunk in iter(lambda: file.read(CHUNK_BYTES), b"")) % 2 == 1


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line and the values of the names, then of each row that has any value."""
    width, line = 0, 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for row in reader:
                if not width:
                    width = len(row)
                elif not any(value.strip() for value in row):
                    line = reader.line_num + 1
                    continue
                elif len(row) != width:
                    raise DataError(f"{path}, line {line}: {len(row)} values, but {width} column names")
                yield line, row
                line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _read_parquet(path: Path) -> "tuple[list[str], list[pyarrow.ChunkedArray]]":
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise DataError(f"{path} is not a Parquet file: {error}") from error
    kinds, columns = pyarrow.types, []
    for column in table.columns:
        if kinds.is_large_string(column.type):
            column = column.cast(pyarrow.string())
        elif kinds.is_integer(column.type) and column.null_count:  # as pandas: with gaps a whole number is "1.0"
            column = column.cast(pyarrow.float64())
        elif not (kinds.is_string(column.type) or kinds.is_integer(column.type) or kinds.is_floating(column.type)):
            series = column.to_pandas()
            texts = ["" if gone else str(value) for value, gone in zip(series, series.isna(), strict=True)]
            column = pyarrow.chunked_array([texts], pyarrow.string())
        columns.append(column)
    return list(table.column_names), columns
