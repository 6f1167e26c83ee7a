"""Table files as columns of text: places of rows, damaged files."""

import numpy as np
import pytest

from lilawbench.datasets.columns import read_columns
from lilawbench.datasets.spelling import Spelling
from lilawbench.support.errors import DataError


@pytest.fixture
def write(tmp_path):
    """write(text, name) -> path of a file with it."""

    def make(text: str, name: str = "my.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return make


def texts(table):
    return {name: [table.text(name, row) for row in range(len(table))] for name in table.arrays}


def test_text_is_stripped_and_missing_values_are_empty(write):
    table = read_columns(write("\ufeff a ,b\r\n 1, x\r\n?,NA\r\n"), spelling=Spelling(["?"]))
    assert texts(table) == {"a": ["1", ""], "b": ["x", "NA"]}


def test_lines_count_empty_ones_and_quoted_breaks(write):
    table = read_columns(write('a,b\n1,2\n\n3,"x\ny"\n5,6\n'))
    assert table.lines.tolist() == [2, 4, 6]
    assert table.at(2).endswith("my.csv, line 6")


@pytest.mark.parametrize("name, delimiter", [("my.tsv", ","), ("my.csv", "\t")])
def test_delimiters(write, name, delimiter):
    table = read_columns(write("a\tb\n1,5\t2\n", name), delimiter)
    assert texts(table)["a"] == ["1,5"]


def test_numbers_and_what_is_none(write):
    values, wrong = read_columns(write("a,b\n1,0\n-2.5e3,0\n,0\nx,0\ninf,0\n")).numbers("a")
    np.testing.assert_array_equal(values[:3], [1, -2500, np.nan])
    assert wrong.tolist() == [3, 4]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n3\n", r"my\.csv, line 3: 1 values, but 2 column names"),
        ("a,b\n1,2,3\n", r"my\.csv, line 2: 3 values, but 2 column names"),
        ("a,b,a\n1,2,3\n", r"my\.csv has more than one column 'a'"),
        ("a,b\n", r"my\.csv has no rows"),
        ("", r"my\.csv is empty"),
        ('a,b\n1,"2\n', r"my\.csv, line 2: unexpected end of data"),
    ],
)
def test_what_is_no_table(write, text, message):
    with pytest.raises(DataError, match=message):
        read_columns(write(text))


def test_parquet_reads_as_its_csv(tmp_path):
    pytest.importorskip("pyarrow")
    import pandas

    frame = pandas.DataFrame({"a": [1.5, None, 3.0], "b": ["x", None, "z"], "c": [1, 2, 3], "d": [True, False, True]})
    frame.to_parquet(tmp_path / "my.parquet")
    frame.to_csv(tmp_path / "my.csv", index=False)
    ours, theirs = (read_columns(tmp_path / name) for name in ("my.parquet", "my.csv"))
    assert texts(ours) == texts(theirs)
    assert ours.at(0).endswith("my.parquet, row 1")


def test_values_that_count_as_missing_in_typed_columns(tmp_path):
    """By their value: -9 is -9.0; 1000 is none of its kind, and NaN always is missing."""
    import pandas

    frame = pandas.DataFrame({"a": pandas.array([-9, 1], "int8"), "b": [-9.0, float("nan")], "c": [True, False]})
    frame.to_parquet(tmp_path / "my.parquet")
    table = read_columns(tmp_path / "my.parquet", spelling=Spelling(["-9", "1000", "NA"]))
    assert texts(table) == {"a": ["", "1"], "b": ["", ""], "c": ["True", "False"]}
    np.testing.assert_array_equal(table.numbers("b")[0], [np.nan, np.nan])


def test_rows_without_any_value_are_none(write):
    table = read_columns(write("a,b\n1,2\n , \n\n3,\n"))
    assert texts(table) == {"a": ["1", "3"], "b": ["2", ""]} and table.lines.tolist() == [2, 5]


def test_numbers_that_pandas_alone_reads(write):
    values, wrong = read_columns(write("a,b\n+1,0\n1e2,0\nx,0\n")).numbers("a")
    assert values[:2].tolist() == [1, 100] and wrong.tolist() == [2]


def test_without_pyarrow(write, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"my\.parquet: reading tables needs pyarrow"):
        read_columns(write("", "my.parquet"))


def test_damaged_parquet(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"my\.parquet is not a Parquet file"):
        read_columns(write("a,b\n1,2\n", "my.parquet"))
