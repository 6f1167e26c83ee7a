"""Text tables as people have them: encodings, packed files, ends of lines; what is refused says what to do."""

import bz2
import gzip
import lzma
import zipfile

import pytest

from lilawbench.datasets.columns import read_columns
from lilawbench.support.errors import DataError

TEXT = "größe,label\n1,ja\n2,nein\n"


@pytest.fixture
def write(tmp_path):
    """write(content, name) -> path of a file with these bytes or this text."""

    def make(content: str | bytes, name: str = "my.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def content(path, **options):
    table = read_columns(path, **options)
    return {name: [table.text(name, row) for row in range(len(table))] for name in table.arrays}


@pytest.mark.parametrize(
    "encoded, encoding",
    [
        (TEXT.encode("utf-8-sig"), "utf-8"),
        (TEXT.encode("utf-8-sig"), "latin-1"),  # the mark has the last word
        (TEXT.encode("utf-16"), "utf-8"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-8"),
        (TEXT.encode("utf-32"), "utf-8"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("cp1252"), "cp1252"),
        (TEXT.encode("latin-1"), "latin-1"),
        (TEXT.replace("\n", "\r\n").encode(), "utf-8"),
        (TEXT.replace("\n", "\r").encode(), "utf-8"),
        (TEXT.replace("\n", "\n\n").encode(), "utf-8"),
        (f"\n{TEXT}".strip().encode(), "utf-8"),
        (TEXT.replace("ja", '"ja"').encode(), "utf-8"),
        (TEXT.replace("ö", "o\u0308").encode(), "utf-8"),  # as macOS writes it
        (gzip.compress(TEXT.encode(), mtime=0), "utf-8"),
        (gzip.compress(TEXT.encode("utf-16"), mtime=0), "utf-8"),
        (bz2.compress(TEXT.encode()), "utf-8"),
        (lzma.compress(TEXT.encode()), "utf-8"),
    ],
)
def test_one_table_however_it_is_written(write, encoded, encoding):
    assert content(write(encoded), encoding=encoding) == {"größe": ["1", "2"], "label": ["ja", "nein"]}


def test_a_zip_of_one_file(tmp_path):
    path = tmp_path / "my.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._my.csv", "x")
        archive.writestr("my.csv", TEXT)
    assert content(path)["label"] == ["ja", "nein"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", TEXT)
    with pytest.raises(DataError, match=r"my\.csv\.zip holds 2 files; unpack it and name one of them"):
        read_columns(path)


def test_a_packed_tsv_has_tabs(write):
    assert content(write(gzip.compress(b"a\tb\n1,5\tx\n"), "my.tsv.gz"))["a"] == ["1,5"]


@pytest.mark.parametrize(
    "text, lines",
    [
        ("a,b\n1,2\n3,4", [2, 3]),
        ("a,b\r\n1,2\r\n3,4\r\n", [2, 3]),
        ("a,b\r1,2\r3,4\r", [2, 3]),
        ("\n\na,b\n1,2\n3,4\n", [4, 5]),
        ('a,b\n1,"x\ny"\n3,4\n\n', [2, 4]),
    ],
)
def test_lines_of_rows(write, text, lines):
    assert read_columns(write(text)).lines.tolist() == lines


@pytest.mark.parametrize(
    "text, message",
    [
        ("x;z;y\n0,3;1;a\n", r"line 1: one column name, 'x;z;y', with ',' between .* 'dataset\.delimiter=\";\"'"),
        ("x\ty\n1\t2\n", r"is it '\\t'\? dataset\.delimiter=tab"),
        ("x|y\n1|2\n", r"'dataset\.delimiter=\"\|\"'"),
        ("sep=;\nx;y\n1;2\n", r"line 1: 'sep=;' is a note for Excel, .* remove the line .* 'dataset\.delimiter=\";\"'"),
        ("# of 2020\nx,y\n1,2\n", r"line 1: '# of 2020' is a comment; remove what stands above the column names"),
        ("x y\n1 2\n", r"is it ' '\? 'dataset\.delimiter=\" \"'"),
        ("x,y\n1,2,\n", r"line 2: 3 values, but 2 column names: the row ends with ',', the names do not"),
        ("x,y\na,1,2\n", r"line 2: 3 values, but 2 column names: if row names stand first, as R writes them"),
        ("x,z,y\n0,3,1,5,1\n", r"line 2: 5 values, but 3 column names: a ',' in a value needs quotes"),
        ("5.1,3.5,0\n4.9,3.5,0\n5.1,3.5,5.1\n5,3,1\n", None),
        ("5.1,5.1,0\n4.9,3,0\n", r"more than one column '5\.1': .* the first line looks like a row of values"),
        ("<!DOCTYPE html>\n<html>", r"is a web page, not the file itself"),
        ('{"a": 1}', r"is a JSON file: save it as CSV"),
        ("@relation x\n@data\n1,2\n", r"is an ARFF file"),
        ("version https://git-lfs.github.com/spec/v1\n", r"is a pointer of Git LFS"),
        ("a,b\n1,\0\0\0\0\n", r"is no text file \(it holds bytes of zero\)"),
    ],
)  # fmt: skip
def test_hints(write, text, message):
    if message is None:
        assert list(content(write(text))) == ["5.1", "3.5", "0"]
        return
    with pytest.raises(DataError, match=f"(?i){message}"):
        read_columns(write(text))


@pytest.mark.parametrize(
    "content, message",
    [
        ("a,b\n1,x\n2,é\n".encode("latin-1"), r"my\.csv, line 3: byte 0xe9 is not UTF-8\..*dataset\.encoding=cp1252"),
        (TEXT.encode("utf-16-le"), r"dataset\.encoding=utf-16-le"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), r"is an old Excel file: save it as CSV"),
        (b"\x80\x04\x95", r"is a pickle, which is never opened"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], r"my\.csv cannot be read: "),
        (b"\x1f\x8b damaged", r"my\.csv cannot be read: "),
        (b"PK\x03\x04 damaged", r"my\.csv cannot be read: "),
    ],
)
def test_bytes_that_are_refused(write, content, message):
    with pytest.raises(DataError, match=message):
        read_columns(write(content))


def test_a_wrong_encoding_is_named(write):
    with pytest.raises(DataError, match=r"my\.csv is not in the encoding ascii: .*0xc3"):
        read_columns(write(TEXT), encoding="ascii")


def test_an_excel_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "my.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(DataError, match=r"my\.xlsx is an Excel file: save it as CSV \(UTF-8\) or Parquet"):
        read_columns(tmp_path / "my.xlsx")


def test_names_missing_at_the_end_and_at_the_start(write):
    assert content(write(",x,y,\n0,1,a,\n1,2,b,\n")) == {
        "Unnamed: 0": ["0", "1"],
        "x": ["1", "2"],
        "y": ["a", "b"],
        "Unnamed: 3": ["", ""],
    }
