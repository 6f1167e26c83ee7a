"""The reader of the papers' results; what is in the files is checked in test_paper_*.py."""

import pytest

from lilawbench.experiment.published import FOLDER, PublishedResult, published
from lilawbench.support.errors import DataError, UserError

HEAD = "table,row,column,metric,mean,std,unit\n"


@pytest.fixture
def folder(tmp_path):
    def write(text):
        (tmp_path / "toy.csv").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_a_table_in_the_order_of_the_file(folder):
    lines = '2,"A, B",0 %,acc,71.5,0.4,%\n14,A,0 %,auroc,.95,,1\n2,A,0 %,acc,70,,%\n\n'
    first, second = (
        PublishedResult("A, B", "0 %", "acc", 71.5, 0.4, "%"),
        PublishedResult("A", "0 %", "acc", 70.0, None, "%"),
    )
    assert published("toy", "2", folder(HEAD + lines)) == [first, second]
    assert published("toy", "2/14", folder(HEAD + lines))[1] == PublishedResult("A", "0 %", "auroc", 0.95, None, "1")


@pytest.mark.parametrize(
    "text, says",
    [
        ("table,row\n", "first line is table,row; expected table,row,column"),
        (HEAD + "5,a,b,c,1,,%\n5,a,b\n", "line 3: 3 values; expected 7"),
        (HEAD + "5,a,b,c,71;5,,%\n", "line 2: '71;5' is not a number"),
        (HEAD + "5,a,b,c,nan,,%\n", "line 2: 'nan' is not a number"),
        (HEAD + "5,a,b,c,1,x,%\n", "line 2: 'x' is not a number"),
        (HEAD + "5,a,b,c,1,,%\n5,a,b,c,2,,%\n", "line 3: 5, a, b, c appears twice"),
        (HEAD + '5,"a,b,c,1,,%\n', "line 2: unexpected end of data"),
    ],
)
def test_damaged_files_are_named(folder, text, says):
    with pytest.raises(DataError, match=says):
        published("toy", "5", folder(text))


def test_what_is_not_there(folder):
    with pytest.raises(UserError, match=r"no published results of 'toys'; did you mean toy\?"):
        published("toys", "5", folder(HEAD))
    with pytest.raises(UserError, match="has no table 6; it has 5"):
        published("toy", "6", folder(HEAD + "5,a,b,c,1,,%\n"))


def test_the_files_lie_in_the_package():
    """The wheel takes the whole package folder (pyproject, hatch)."""
    assert FOLDER.name == "paper" and (FOLDER.parent / "published.py").is_file()
