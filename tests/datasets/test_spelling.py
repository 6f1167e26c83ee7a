"""How values of tables are written: missing ones, numbers, texts that are one, and their order."""

import numpy as np
import pyarrow
import pytest

from lilawbench.datasets.spelling import MISSING, Spelling, alike


def column(*texts: str) -> pyarrow.ChunkedArray:
    return pyarrow.chunked_array([pyarrow.array(texts, pyarrow.string())])


def read(*texts: str, spelling: Spelling | None = None, **options) -> list[float | str | None]:
    return (spelling or Spelling()).read(column(*texts), **{"as_text": False, "exact": False, **options})[0].to_pylist()


@pytest.mark.parametrize("word", [*MISSING, "n/a", "nan", "NAN", "nAn", "None", "NULL", "  ", "\u00a0", " N/A "])
def test_words_for_a_missing_value(word):
    assert read("1", word, "2.5") == [1, None, 2.5]
    assert read("a", word, "b") == ["a", None, "b"]


def test_own_words_replace_these():
    spelling = Spelling(["unknown", "-9"])
    assert read("1", "-9.0", "Unknown", spelling=spelling) == [1, None, None]
    assert read("1", "NA", spelling=spelling) == ["1", "NA"]
    assert spelling.read(column("x", "Unknown", "unknown", ""), False, False)[1] == ["Unknown", "unknown"]


def test_decimal_commas():
    spelling = Spelling(decimal=",")
    assert read("0,3", "-1,5", "2", ",5", "1,5e3", "N/A", "", spelling=spelling) == [
        0.3,
        -1.5,
        2,
        0.5,
        1500,
        None,
        None,
    ]
    assert read("0,3", "1.5", spelling=spelling) == ["0,3", "1.5"]
    assert read("1,0", "1", "0,50", "0,5", spelling=spelling, as_text=True) == ["1", "1", "0,5", "0,5"]


@pytest.mark.parametrize(
    "text, value",
    [("+1", 1), ("1e3", 1000), (".5", 0.5), ("5.", 5), ("-0", 0), ("1_000", None), ("0x1F", None), ("1,5", None)],
)
def test_what_is_a_number(text, value):
    """None: a text, and so its column."""
    assert read("1", text) == ([1, value] if value is not None else ["1", text])


@pytest.mark.parametrize(
    "texts, one",
    [
        (["1", "1.0", "+1", " 1 ", "1.00", "1.", "1.0e+00"], "1"),
        (["-1", "-1.0"], "-1"),
        (["0", "-0", "0.0"], "0"),
        (["0.5", ".5", "0.50"], "0.5"),
        (["12345678901234567890"], "12345678901234567890"),
        (["Müller", "Mu\u0308ller", " Müller\u00a0"], "Müller"),
        (["New York", "New  York", "New\u00a0York"], "New York"),
        (["007"], "007"),
        (["1e5"], "1e5"),
        (["yes"], "yes"),
    ],
)
def test_texts_that_are_one(texts, one):
    assert set(read("other", *texts, as_text=True)[1:]) == {one}


def test_names_of_rows_are_spelled_as_in_the_file():
    assert read("1.0", "01", "1e5", as_text=True, exact=True) == ["1.0", "01", "1e5"]


def test_infinite_is_a_number_and_not_finite():
    assert read("1", "inf", "1e400") == [1, np.inf, np.inf]


def test_texts_that_look_alike():
    assert alike(["yes", "No", "Yes", "01", "1", "no", "2"]) == [["yes", "Yes"], ["No", "no"], ["01", "1"]]
