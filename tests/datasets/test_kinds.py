"""What columns are taken for, and what is refused because it is in doubt."""

import numpy as np
import pytest

from lilawbench.datasets.columns import read_columns
from lilawbench.datasets.kinds import Kinds, kinds, shortened
from lilawbench.datasets.spelling import Spelling
from lilawbench.support.errors import DataError

ROWS = 30
NUMBERS = [f"{(7 * i % 11) / 4}" for i in range(ROWS)]  # 11 different ones
PETS = ["cat", "dog", "cow"] * (ROWS // 3)
RUNNING = [str(i) for i in range(ROWS)]
SHUFFLED = [str(100 + 7 * i % ROWS) for i in range(ROWS)]
NAMES = [f"p{i}" for i in range(ROWS)]


@pytest.fixture
def told(tmp_path):
    """told({name: values}, ...) -> Kinds of these columns and of one of numbers, x."""

    def tell(columns: dict[str, list[str]], delimiter=",", decimal=".", numeric=(), categorical=(), most=100) -> Kinds:
        columns = {"x": NUMBERS, **columns}
        rows = zip(*columns.values(), strict=True)
        path = tmp_path / "my.csv"
        path.write_text("".join("\t".join(row) + "\n" for row in [list(columns), *rows]))
        table = read_columns(path, "\t", Spelling(decimal=decimal), as_text=categorical)
        return kinds(table, {}, numeric, categorical, most)

    return tell


def first(values: list[str], *others: str) -> list[str]:
    return [*others, *values[len(others) :]]


@pytest.mark.parametrize(
    "name, values",
    [
        ("age", first(NUMBERS, "N/A", "-", "None", "#N/A", "n.a.", ".", "")),
        ("age", first(NUMBERS, "1e-3", "+5")),
        ("income", [str(1000 + 37 * i) for i in range(ROWS)]),  # all different, and no index
        ("id", NUMBERS),  # an identifier would differ in each row
        ("refractive id", [f"{i / 7:.3f}" for i in range(ROWS)]),
        ("valid", SHUFFLED[:-1] + ["7"]),
    ],
)
def test_numbers(told, name, values):
    assert told({name: values}) == Kinds(numeric=["x", name])


@pytest.mark.parametrize("values", [PETS, first(PETS, "", "N/A", "3"), ["3A", "4B", "5"] * 10, ["yes", "no", "1"] * 10])
def test_categories(told, values):
    assert told({"c": values}) == Kinds(numeric=["x"], categorical=["c"])


@pytest.mark.parametrize(
    "name, values, why",
    [
        ("", RUNNING, "index"),
        ("", SHUFFLED, "index"),
        ("Unnamed: 0", RUNNING[::-1], "index"),
        ("Unnamed: 0.1", NAMES, "index"),
        ("__index_level_0__", NAMES, "index"),
        ("z", [""] * ROWS, "no value"),
        ("z", ["NA"] * ROWS, "no value"),
        ("id", RUNNING, "identifier"),
        ("PatientID", SHUFFLED, "identifier"),
        ("passengerid", SHUFFLED, "identifier"),
        ("patient_id", NAMES, "identifier"),
        ("Sample ID", first(NAMES, "p1"), "identifier"),  # nearly all differ
        ("ID_number", SHUFFLED, "identifier"),
        ("nr", RUNNING, "identifier"),
    ],
)
def test_columns_that_are_no_features(told, name, values, why):
    """Left out, and said; asked for by name, they are features."""
    found, name = told({name: values}), name or "Unnamed: 1"
    assert found.numeric == ["x"] and not found.categorical
    assert found.left_out[name].startswith(why)
    if why == "no value":
        return
    forced = {"categorical": [name]} if values[0].startswith("p") else {"numeric": [name]}
    assert not told({name: values}, **forced).left_out


@pytest.mark.parametrize(
    "values, message",
    [
        (first(NUMBERS, "unknown", "1", "unknown"), r"'z' is mostly numbers, but holds 'unknown' \(line 2, 2 rows\)\. "
         r".*dataset\.missing.*dataset\.categorical=\[z\].*dataset\.ignore=\[z\]"),
        (["not measured"] * 20 + NUMBERS[20:], r"mostly numbers, but holds 'not measured' \(line 2, 20 rows\)"),
        (first(NUMBERS, *"abcdefg"), r"'a' \(line 2\), .* and 2 more"),
        (["0", "1", "2", "3+", "1"] * 6, r"holds '3\+' \(line 5, 6 rows\)"),
        (first(NUMBERS, "1,5"), r"'1,5' \(line 2\)\. If the comma is the decimal sign: 'dataset\.decimal=\",\"'"),
        ([n.replace(".", ",") for n in NUMBERS], r"If the comma is the decimal sign"),
        (["1,234.5", "12,000", "1,234,567"] * 10, r"Signs between thousands are not read"),
        (["1 234", "12 000", "7"] * 10, r"Signs between thousands are not read"),
        (["5 %", "7%", "9 %"] * 10, r"Signs such as %, \$ and a long minus are not read"),
        (["$5", "$7.50", "9"] * 10, r"Signs such as %, \$ and a long minus are not read"),
        (first(NUMBERS, "inf"), r"line 2: 'inf' in column 'z' is not a finite number \(1 such rows\); .*missing"),
        (["2020-01-31", "2021-12-01", ""] * 10, r"line 2: '2020-01-31': column 'z' holds dates or times"),
        (["31.1.2020", "1/12/21 10:30", "12:30"] * 10, r"holds dates or times"),
        (["31-Jan-2020", "1 February 2021", "March 5, 2020"] * 10, r"holds dates or times"),
        (RUNNING, r"column 'z' numbers the rows, 0 to 29; .*dataset\.ignore=\[z\].*dataset\.numeric=\[z\]"),
        (SHUFFLED, r"column 'z' numbers the rows, 100 to 129"),
        (NAMES, r"holds 30 different texts in 30 rows: .*dataset\.ignore=\[z\].*dataset\.categorical=\[z\]"),
    ],
)  # fmt: skip
def test_what_is_in_doubt_is_refused(told, values, message):
    with pytest.raises(DataError, match=message):
        told({"z": values})


def test_a_point_where_decimals_have_a_comma(told):
    values = [n.replace(".", ",") for n in NUMBERS]
    assert told({"x": values, "z": values}, decimal=",").numeric == ["x", "z"]
    with pytest.raises(DataError, match=r"holds '1\.5' \(line 2\)\. With dataset\.decimal=\",\" a point"):
        told({"x": values, "z": first(values, "1.5")}, decimal=",")


def test_a_nameless_column_that_is_no_index(told):
    with pytest.raises(DataError, match=r"a column has no name, .* 'dataset\.ignore=\[\"Unnamed: 1\"\]'"):
        told({"": NUMBERS})


def test_names_are_quoted_for_the_shell(told):
    with pytest.raises(DataError, match=r"with 'dataset\.ignore=\[\"full name\"\]', or keep"):
        told({"full name": NAMES})


def test_categories_can_be_asked_for(told):
    values = first(NUMBERS, "unknown", "inf")
    assert told({"z": values}, categorical=["z"]).categorical == ["z"]
    with pytest.raises(DataError, match=r"'unknown' in the numeric column 'z' is not a finite number"):
        told({"z": values}, numeric=["z"])
    with pytest.raises(DataError, match=r"holds 30 different values .* dataset\.max_categories=20"):
        told({"z": NAMES}, categorical=["z"], most=20)


def test_typed_columns_of_parquet(tmp_path):
    """Whole numbers with gaps, booleans, decimals and categories are read; dates and lists refused by name."""
    from datetime import date
    from decimal import Decimal

    import pandas
    import pyarrow

    n, path = 24, tmp_path / "my.parquet"
    frame = pandas.DataFrame({"gaps": pandas.array([1, None, 5] * 8, "Int64"), "yes": [True, False, None] * 8,
                              "price": [Decimal("1.50"), Decimal("2"), None] * 8, "half": np.float16([0, 0.5] * 12),
                              "grade": pandas.Categorical(["b", "a", "b", "a"] * 6), "none": [None] * n},
                             index=[f"r{i}" for i in range(n)])  # fmt: skip
    frame.to_parquet(path)
    table = read_columns(path)
    found = kinds(table, {}, [], [], 100)
    assert found.numeric == ["gaps", "price", "half"] and found.categorical == ["yes", "grade"]
    assert found.left_out == {"none": "no value", "__index_level_0__": "index"}
    assert table.numbers("price")[0][:2].tolist() == [1.5, 2] and table.text("gaps", 0) == "1"
    for values, kind in [([date(2020, 1, 1)] * n, r"date32"), ([[1.0, 2.0]] * n, r"list<")]:
        pyarrow.parquet.write_table(pyarrow.table({"x": [1, 2] * 12, "z": values}), path)
        with pytest.raises(DataError, match=rf"column 'z' holds {kind}.*dataset\.ignore=\[z\]"):
            kinds(read_columns(path), {}, [], [], 100)
        assert kinds(read_columns(path), {"z": "ignored"}, [], [], 100).numeric == ["x"]


def test_long_lists_are_shortened():
    assert shortened([str(i) for i in range(31)]).endswith("28, 29 and 1 more")
    assert shortened([]) == "none"
