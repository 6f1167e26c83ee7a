"""A table file of a user's own, as columns held by Arrow: a million rows of forty columns in less than half a GB."""

import difflib
import importlib.util
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.parquet_file import plain_columns, read_parquet
from lilawbench.datasets.spelling import Spelling, plain_number
from lilawbench.datasets.text_file import TextFile
from lilawbench.support.errors import DataError, first_of

if TYPE_CHECKING:
    import pandas
    import pyarrow

UNREADABLE = (OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # damaged, or locked


@dataclass(frozen=True)
class Columns:
    """The content of a table file.

    Args:
        arrays: per column [N] numbers, or texts as a dictionary, null where a value is missing. What Parquet holds
            besides, such as dates and lists, stays as it is: such a column can only be ignored.
        spelling: how its texts are read.
        text_file: None: it is a Parquet file.
        gone: of columns of text, what stood for a missing value, besides nothing.
        known_lines: of each row, [N], if there is no need to ask the file.
    """

    path: Path
    arrays: "dict[str, pyarrow.Array]"
    spelling: Spelling
    text_file: TextFile | None = None
    gone: dict[str, list[str]] = field(default_factory=dict)
    known_lines: np.ndarray | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @cached_property
    def lines(self) -> np.ndarray:
        """The place of each row in the file, [N] int64 from 1: the line of a text, or the row of a Parquet file."""
        if self.known_lines is not None:
            return self.known_lines
        return np.arange(1, len(self) + 1) if self.text_file is None else self.text_file.lines(len(self))

    @property
    def place(self) -> str:
        """What the place of a row is called."""
        return "row" if self.text_file is None else "line"

    def at(self, row: int) -> str:
        """The place of a row, for a message: "a.csv, line 7"."""
        return f"{self.path}, {self.place} {self.lines[row]}"

    def keep(self, rows: np.ndarray) -> "Columns":
        """The table with some rows only."""
        arrays = {name: array.take(rows) for name, array in self.arrays.items()}
        for name in arrays:
            if self.of_kind(name) == "texts":  # less the texts that no row has any more
                arrays[name] = arrays[name].dictionary_decode().dictionary_encode()
        return replace(self, arrays=arrays, known_lines=self.lines[rows])

    def need(self, names: Sequence[str], option: str) -> None:
        """Raises: DataError, listing the columns, if one of `names` is none of them."""
        if wrong := [name for name in names if name not in self.arrays]:
            lowered = {name.lower(): name for name in self.arrays}
            alike = difflib.get_close_matches(wrong[0].lower(), lowered, 1)
            raise DataError(
                f"{self.path} has no column {listed(wrong)} ({option}); its columns are {listed(list(self.arrays))}"
                + (f"; did you mean {lowered[alike[0]]!r}?" if alike else _headless(list(self.arrays)))
            )

    def is_missing(self, name: str) -> np.ndarray:
        """[N] bool."""
        return self.arrays[name].is_null().to_numpy(zero_copy_only=False)

    def of_kind(self, name: str) -> str:
        """numbers | texts | what else Arrow calls the column's type."""
        import pyarrow.types as kinds

        kind = self.arrays[name].type
        return "texts" if kinds.is_dictionary(kind) else "numbers" if _is_number(kind) else str(kind)

    def texts(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A column as numbers of its different texts, [N] int32, and these texts; "" stands for a missing value."""
        coded, kind = self.arrays[name], self.of_kind(name)
        if kind not in ("texts", "numbers"):
            raise DataError(f"{self.path}: column {name!r} holds {kind}; this use of it needs texts or numbers")
        if kind == "numbers":
            coded = coded.dictionary_encode()
        values = coded.dictionary.to_pylist()
        texts = [plain_number(value) for value in values] if kind == "numbers" else values
        codes = coded.indices
        if coded.null_count:
            codes, texts = codes.fill_null(len(texts)), [*texts, ""]
        return codes.to_numpy(zero_copy_only=False), texts

    def text(self, name: str, row: int) -> str:
        """One value; "" if it is missing."""
        value = self.arrays[name][row].as_py()
        if value is None or isinstance(value, str):
            return value or ""
        return plain_number(value) if self.of_kind(name) == "numbers" else str(value)

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column as numbers, [N] float64 with NaN where missing; and the rows that hold anything else."""
        import pyarrow

        array, there = self.arrays[name], ~self.is_missing(name)
        if self.of_kind(name) == "numbers":
            values = array.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
        else:
            codes, texts = self.texts(name)
            values = np.array([self.spelling.number(text) for text in texts])[codes]
        return values, np.flatnonzero(there & ~np.isfinite(values))


def read_columns(
    path: Path, delimiter: str = ",", spelling: Spelling | None = None, encoding: str = "utf-8",
    as_text: Sequence[str] = (), as_they_are: Sequence[str] = (),
) -> Columns:  # fmt: skip
    """Reads a Parquet file, or else text of delimited values below a line of names, packed (.gz, .zip) or not.

    Args:
        delimiter: of a text file; a .tsv has tabs.
        spelling: what counts as missing, besides an empty value, and the decimal sign.
        encoding: of a text file without a byte order mark.
        as_text: columns that are texts, even if all are numbers. as_they_are: likewise, in the spelling of the file.
    Raises:
        DataError: not a table, a line of another length than the first, a name twice, no rows, pyarrow
            not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError(f"{path}: reading tables needs pyarrow (pip install pyarrow)")
    spelling, text_file = spelling or Spelling(), None
    if _is_parquet(path):
        names, columns = read_parquet(path)
    else:
        try:
            text_file = TextFile(path, "\t" if ".tsv" in path.suffixes[-2:] else delimiter, encoding)
            names, columns = text_file.read()
        except UNREADABLE as error:
            raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(
            f"{path} has more than one column {listed(repeated)}: columns need different names{_headless(names)}"
        )
    if not columns or not len(columns[0]):
        raise DataError(f"{path} has no rows below its column names" if names else f"{path} is empty")
    return _spelled(Columns(path, {}, spelling, text_file), names, columns, as_text, as_they_are)


def columns_of(
    frame: "pandas.DataFrame", spelling: Spelling, as_text: Sequence[str] = (), as_they_are: Sequence[str] = ()
) -> Columns:
    """A table in memory, as if it had been read from a Parquet file. Arguments: see `read_columns`.

    Raises:
        DataError: a column of mixed kinds, a name twice, no rows.
    """
    import pyarrow

    where = Path("the table")
    if not len(frame):
        raise DataError(f"{where} has no rows")
    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{where}: {error}") from error
    names, columns = plain_columns(table)
    return _spelled(Columns(where, {}, spelling), names, columns, as_text, as_they_are)


def _spelled(
    table: Columns, names: Sequence[str], columns: "list[pyarrow.ChunkedArray]", as_text: Sequence[str],
    as_they_are: Sequence[str],
) -> Columns:  # fmt: skip
    """The empty table filled with columns, each let go as soon as it is read."""
    for name in names:
        column, exact = columns.pop(0), name in as_they_are
        array, words = table.spelling.read(column, as_text=exact or name in as_text, exact=exact)
        table.arrays[name] = array
        if words:
            table.gone[name] = words
    return table


def text_at(read: Callable[[], Columns], lines: np.ndarray) -> dict[str, list[str]]:
    """All columns of a table at some of its lines, as text; it is read again: to keep it would double the memory.

    Args:
        read: reads it. lines: [n] int64, sorted as in the table.
    Raises:
        DataError: the file no longer has these lines.
    """
    try:
        table = read()
        rows = np.searchsorted(table.lines, lines)
        if rows.max(initial=0) >= len(table) or not np.array_equal(table.lines[rows], lines):
            raise DataError(f"{table.path} has changed since training began")
        return {name: [table.text(name, int(row)) for row in rows] for name in table.arrays}
    finally:
        release_memory()


def release_memory() -> None:
    """Returns Arrow's freed memory to the system: the split that follows copies the table once more."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def listed(names: Sequence[str]) -> str:
    """The first few of a list, quoted."""
    return first_of([repr(str(name)) for name in names])


def say(option: str, name: str) -> str:
    """How to give an option the name of a column, in a shell."""
    return f"dataset.{option}=[{name}]" if re.fullmatch(r"\w+", name) else f"'dataset.{option}=[\"{name}\"]'"


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1" or path.suffix in (".parquet", ".pq")


def _is_number(kind: "pyarrow.DataType") -> bool:
    import pyarrow.types as kinds

    return kinds.is_integer(kind) or kinds.is_floating(kind)


def _headless(names: Sequence[str]) -> str:
    """A hint if the names are rather the first row's values; columns that are numbered have whole numbers only."""
    spelling = Spelling()
    numbers = [name for name in names if np.isfinite(spelling.number(name))]
    if 2 * len(numbers) > len(names) and not all(name.isdigit() for name in numbers):
        return "; the first line looks like a row of values: put a line of column names above it"
    return ""
