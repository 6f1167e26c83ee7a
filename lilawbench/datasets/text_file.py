"""A table as text, CSV and its kin: of any encoding, packed or not, read by Arrow, its faults named by line."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from lilawbench.datasets.spelling import unified
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import pyarrow

CHUNK_BYTES = 2**24
HEAD_BYTES = 4096
MARKS = {  # byte order marks; that of UTF-32 begins as that of UTF-16
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
PACKED = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ": lzma.LZMAFile}
AS_CSV = "save it as CSV (UTF-8) or Parquet"
FOREIGN = {  # how files begin that are no tables of text
    b"\xd0\xcf\x11\xe0": f"an old Excel file: {AS_CSV}",
    b"\x89HDF": f"an HDF5 file: {AS_CSV}",
    b"ARROW1": f"an Arrow (Feather) file: {AS_CSV}",
    b"SQLite format 3": f"an SQLite data base: {AS_CSV}",
    b"\x93NUMPY": "a NumPy array: dataset=embeddings reads features",
    b"%PDF": f"a PDF: {AS_CSV}",
    b"$FL": f"an SPSS file: {AS_CSV}",
    b"<stata_dta>": f"a Stata file: {AS_CSV}",
    b"\x80\x04": "a pickle, which is never opened: save it as Parquet",
    b"\x80\x05": "a pickle, which is never opened: save it as Parquet",
    b"<!doctype": "a web page, not the file itself: download it again",
    b"<html": "a web page, not the file itself: download it again",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: git lfs pull",
    b"@relation": f"an ARFF file: {AS_CSV}",
    b"{": f"a JSON file: {AS_CSV}",
}
IN_ZIP = {
    "[Content_Types].xml": f"an Excel file: {AS_CSV}",
    "mimetype": f"an OpenDocument file: {AS_CSV}",
}
DELIMITERS = {";": "'dataset.delimiter=\";\"'", "\t": "dataset.delimiter=tab", "|": "'dataset.delimiter=\"|\"'",
              ",": "'dataset.delimiter=\",\"'", " ": "'dataset.delimiter=\" \"'"}  # fmt: skip


class TextFile:
    """Delimited values below a line of column names.

    Args:
        delimiter: one character.
        encoding: of the text, unless it begins with a byte order mark.
    """

    def __init__(self, path: Path, delimiter: str, encoding: str):
        self.path, self.delimiter = path, delimiter
        with self._unpacked() as file:
            head = file.read(HEAD_BYTES)
        lowered = head.lstrip().lower()
        if what := next((what for start, what in FOREIGN.items() if lowered.startswith(start.lower())), None):
            raise DataError(f"{path} is {what}")
        mark = next((mark for mark in MARKS if head.startswith(mark)), None)
        self.encoding = codecs.lookup(encoding if mark is None else MARKS[mark]).name
        if b"\0" in head and not self.encoding.startswith(("utf-16", "utf-32")):
            zeros = np.bincount(np.flatnonzero(np.frombuffer(head, np.uint8) == 0) % 2, minlength=2)
            hint = f"is it UTF-16? dataset.encoding=utf-16-{'le' if zeros[1] > zeros[0] else 'be'}"
            raise DataError(f"{path} is no text file (it holds bytes of zero); {hint}. Else {AS_CSV}")

    def open(self) -> IO[bytes]:
        """The text as UTF-8, whatever it is in the file.

        Raises:
            DataError: it is in another encoding, with the line.
        """
        file = self._unpacked()
        if self.encoding == "utf-8":
            return file
        with file:
            try:
                return io.BytesIO(file.read().decode(self.encoding).encode())
            except UnicodeError as error:
                raise DataError(f"{self.path} is not in the encoding {self.encoding}: {error}") from error

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The line and the values of the names, then of each row that has any value.

        Raises:
            DataError: a row has more or fewer values than there are names, a quote is left open, no UTF-8.
        """
        width, line, names = 0, 1, [""]
        try:
            with io.TextIOWrapper(self.open(), encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, delimiter=self.delimiter, strict=True)
                for row in reader:
                    if not any(value.strip() for value in row) and (width or len(row) < 2):
                        line = reader.line_num + 1
                        continue
                    if not width:
                        width, names = len(row), row
                    elif len(row) != width:
                        raise DataError(
                            f"{self.path}, line {line}: {len(row)} values, but {width} column names"
                            f"{self._hint(names, row)}"
                        )
                    yield line, row
                    line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{self.path}, line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise self._undecodable() from error

    def read(self) -> "tuple[list[str], list[pyarrow.ChunkedArray]]":
        """Column names, those of nameless columns as pandas has them, and the columns as strings.

        Read by Arrow; if that fails, by Python's csv reader, which says what is wrong and where.
        """
        import pyarrow
        import pyarrow.compute as pc
        from pyarrow import csv as arrow_csv

        _, header = next(self.rows(), (0, []))
        self._check_header(header)
        names = [_name(text, i) for i, text in enumerate(header)]
        if not names or len(set(names)) < len(names):
            return names, []
        try:
            quotes, _ = self._counts
            if quotes % 2:  # one is left open, which Arrow accepts
                raise pyarrow.ArrowInvalid
            parse = arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=quotes > 0)
            types = dict.fromkeys(header, pyarrow.string())
            convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
            with self.open() as file:
                table = arrow_csv.read_csv(file, parse_options=parse, convert_options=convert)
            if table.column_names != header:
                raise pyarrow.ArrowInvalid
        except (pyarrow.ArrowInvalid, pyarrow.ArrowKeyError):
            rows = self.rows()
            next(rows)
            columns = list(zip(*(row for _, row in rows))) or [()] * len(names)
            return names, [pyarrow.chunked_array([pyarrow.array(column, pyarrow.string())]) for column in columns]
        columns = table.columns
        blank = None  # rows without any value are skipped
        for column in columns:
            empty = pc.equal(pc.utf8_trim_whitespace(column), "")
            blank = empty if blank is None else pc.and_(blank, empty)
            if not pc.any(blank).as_py():
                break
        else:
            columns = [column.filter(pc.invert(blank)) for column in columns] if columns else []
        return names, columns

    def lines(self, count: int) -> np.ndarray:
        """The line of each of the `count` rows, [count] int64 from 1; the file is read again only if it must be."""
        if self._counts[1] == count + 1:  # neither an empty line nor one that a quoted value breaks
            return np.arange(2, count + 2)
        rows = self.rows()
        next(rows)
        return np.array([line for line, _ in rows])

    @cached_property
    def _counts(self) -> tuple[int, int]:
        """Quotes and lines of the file."""
        quotes = feeds = returns = 0
        last = b"\n"
        with self.open() as file:
            for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
                quotes, feeds = quotes + chunk.count(b'"'), feeds + chunk.count(b"\n")
                returns += 0 if feeds else chunk.count(b"\r")
                last = chunk[-1:]
        return quotes, (feeds or returns) + (last not in b"\r\n")

    def _unpacked(self) -> IO[bytes]:
        """The file's bytes; of a zip file, those of the one file in it."""
        with self.path.open("rb") as file:
            start = file.read(6)
        if start.startswith(b"PK\x03\x04"):
            archive = zipfile.ZipFile(self.path)
            names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
            if what := next((IN_ZIP[name] for name in names if name in IN_ZIP), None):
                raise DataError(f"{self.path} is {what}")
            if len(names) != 1:
                raise DataError(f"{self.path} holds {len(names)} files; unpack it and name one of them")
            return archive.open(names[0])
        unpack = next((unpack for magic, unpack in PACKED.items() if start.startswith(magic)), None)
        return self.path.open("rb") if unpack is None else cast(IO[bytes], unpack(self.path))

    def _undecodable(self) -> DataError:
        with self.open() as file:
            for number, text in enumerate(file, 1):
                try:
                    text.decode()
                except UnicodeDecodeError as error:
                    where, byte = f"{self.path}, line {number}", text[error.start]
                    return DataError(
                        f"{where}: byte {byte:#x} is not UTF-8. Name the file's encoding: dataset.encoding=cp1252 "
                        "(Windows and Excel in western Europe), latin-1, or another that Python knows"
                    )
        return DataError(f"{self.path} is not UTF-8; dataset.encoding names another")

    def _check_header(self, header: list[str]) -> None:
        """Raises: DataError if the names are joined by another character than `delimiter`."""
        first = self.delimiter.join(header).strip()
        if first.lower().startswith("sep="):
            raise DataError(
                f"{self.path}, line 1: {first!r} is a note for Excel, not column names; remove the line and give "
                f"{DELIMITERS.get(first[4:5], 'dataset.delimiter')}"
            )
        if len(header) != 1 or not first:
            return
        if first.startswith("#"):
            raise DataError(f"{self.path}, line 1: {first!r} is a comment; remove what stands above the column names")
        other = max(DELIMITERS, key=first.count)
        if other != self.delimiter and first.count(other):
            raise DataError(
                f"{self.path}, line 1: one column name, {first!r}, with {self.delimiter!r} between columns. Is it "
                f"{other!r}? {DELIMITERS[other]}"
            )

    def _hint(self, names: list[str], row: list[str]) -> str:
        """What may be behind a row of another length than the names."""
        mark = repr(self.delimiter)
        if len(row) == len(names) + 1 and not row[-1].strip():
            return f": the row ends with {mark}, the names do not; end both alike"
        if len(row) == len(names) + 1:
            return f": if row names stand first, as R writes them, name that column; a {mark} in a value needs quotes"
        if len(row) > len(names):
            return f": a {mark} in a value needs quotes, or another dataset.delimiter"
        return ""


def _name(text: str, place: int) -> str:
    return unified(text) or f"Unnamed: {place}"
