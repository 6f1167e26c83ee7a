"""Classes by their names: in noise.pairs and in files of labels."""

import numpy as np
import pytest

from lilawbench.noise import File, asymmetric
from lilawbench.noise.classes import class_number
from lilawbench.support.errors import DataError

ANIMALS = ("bird", "cat", "dog")
CLEAN = np.array([0, 1, 2, 0, 1, 2])


def pairs_of(pairs, names=ANIMALS):
    return asymmetric(CLEAN, 3, 0.5, np.random.default_rng(0), pairs, class_names=names)


def test_pairs_by_name_are_those_by_number():
    np.testing.assert_array_equal(pairs_of({"cat": "dog", 0: "cat"}), pairs_of({1: 2, 0: 1}))


def test_before_the_data_are_read_names_wait():
    np.testing.assert_array_equal(pairs_of({"cat": "dog"}, names=None), CLEAN)


@pytest.mark.parametrize(
    "pairs, says",
    [
        ({"cta": "dog"}, "cta is no class; did you mean cat"),
        ({"cat": 3}, "pair cat: 3 does not join"),
        ({"cat": "dog", 1: 0}, "pairs names a class twice"),
        ({"dog": "dog"}, "pair dog: dog does not join two different classes"),
    ],
)
def test_pairs_that_name_no_two_classes(pairs, says):
    with pytest.raises(ValueError, match=says):
        pairs_of(pairs)


def test_a_name_comes_before_a_number():
    assert class_number("2", ("1", "2")) == 1 and class_number("2", ANIMALS) == 2 and class_number(2, ("1", "2")) == 2


def replayed(tmp_path, text, names=ANIMALS):
    (tmp_path / "labels.csv").write_text(text)
    return File(str(tmp_path / "labels.csv"))(CLEAN, 3, np.random.default_rng(0), names).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "bird\ncat\ndog\nbird\ndog\ndog\n",
        "observed,clean\nbird,bird\ncat,cat\ndog,dog\nbird,bird\ndog,cat\ndog,dog\n",
        "0\n1\n2\n0\n2\n2\n",
    ],
)
def test_a_file_may_name_the_classes(tmp_path, text):
    assert replayed(tmp_path, text) == [0, 1, 2, 0, 2, 2]


def test_a_name_that_is_none_is_told_with_its_line(tmp_path):
    with pytest.raises(DataError, match="line 5: cow is not a class number"):
        replayed(tmp_path, "bird\ncat\ndog\nbird\ncow\ndog\n")


def test_names_that_are_numbers(tmp_path):
    """Classes named 1 to 3: a file with a 3 has names, one with a 0 numbers, and one with neither is refused."""
    grades = ("1", "2", "3")
    assert replayed(tmp_path, "1\n2\n3\n1\n3\n3\n", grades) == [0, 1, 2, 0, 2, 2]
    assert replayed(tmp_path, "1\n2\n0\n1\n2\n2\n", grades) == [1, 2, 0, 1, 2, 2]
    with pytest.raises(DataError, match="names of classes and numbers of classes too"):
        replayed(tmp_path, "1\n2\n2\n1\n2\n2\n", grades)
