"""Adult: the real file, and a tiny one in its layout."""

import numpy as np
import pytest
import torch

from lilawbench.datasets import adult
from lilawbench.datasets.adult import Adult
from lilawbench.support.errors import DataError

CLASS = adult.CLASS_NAMES


def adult_rows(count: int) -> list[list[str]]:
    """Ages 20..69, four columns that vary, a quarter of the rows above 50K."""
    rows = []
    for i in range(count):
        work, income = ["Private", "?", "State-gov"][i % 3], CLASS[i % 4 == 0]
        race, sex = ["White", "Black"][i % 2], ["Male", "Female"][i // 2 % 2]
        rows.append([str(20 + i % 50), work, str(1000 + i), "HS-grad", "9", "Divorced", "Sales", "Unmarried",
                     race, sex, "0", str(i % 7), "40", "Cuba", income])  # fmt: skip
    return rows


@pytest.fixture
def write_adult(tmp_path, monkeypatch, md5):
    """write_adult(rows): makes them the official file below tmp_path."""

    def write(rows: list[list[str]]):
        path = tmp_path / "adult" / "adult.data"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(", ".join(row) + "\n" for row in rows) + "\n")
        monkeypatch.setattr(adult, "MD5", md5(path))

    return write


def test_adult_columns_groups_and_missing_values(tmp_path, write_adult, check_types):
    rows = adult_rows(40)
    write_adult(rows)
    source = Adult().load(tmp_path)
    check_types(source, 2)
    _, test = adult.split_rows(np.array([row[-1] == ">50K" for row in rows]), 0.3)
    assert len(source.test_clean) == 12 and source.test_clean.sum() == 3
    # 6 numbers, then workclass (?, Private, State-gov), 5 columns of one category, race (2), sex (2), country (1)
    assert source.input_shape == (6 + 3 + 1 + 1 + 1 + 1 + 2 + 2 + 1,)
    missing = [float(rows[i][1] == "?") for i in test]
    assert source.test_input[:, 6].tolist() == missing
    assert source.test_groups["sex"].tolist() == [rows[i][9] for i in test]
    assert source.test_groups["race"].tolist() == [rows[i][8] for i in test]


def test_adult_age_bands(tmp_path, write_adult):
    rows = adult_rows(40)
    ages = [17, 24, 25, 34, 35, 44, 45, 54, 55, 64, 65, 90]
    _, test = adult.split_rows(np.array([row[-1] == ">50K" for row in rows]), 0.3)
    for i, age in zip(test, ages, strict=True):
        rows[i][0] = str(age)
    write_adult(rows)
    bands = [band for band in ("<=24", "25-34", "35-44", "45-54", "55-64", "65+") for _ in range(2)]
    assert Adult().load(tmp_path).test_groups["age"].tolist() == bands


def test_adult_test_rows_do_not_shape_the_training_inputs(tmp_path, write_adult):
    rows = adult_rows(40)
    write_adult(rows)
    before = Adult().load(tmp_path)
    _, test = adult.split_rows(np.array([row[-1] == ">50K" for row in rows]), 0.3)
    for i in test:
        rows[i][2], rows[i][1] = "999999", "Never-worked"
    write_adult(rows)
    after = Adult().load(tmp_path)
    assert torch.equal(before.train_input, after.train_input)
    assert not after.test_input[:, 6:9].any()  # a category that no training row has


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_adult_refuses_a_fraction_outside_0_1(fraction):
    with pytest.raises(ValueError, match="test_fraction must lie between 0 and 1"):
        Adult(test_fraction=fraction)


@pytest.mark.parametrize(
    "column, value, message",
    [
        (slice(3, 4), [], "line 3: 14 columns, expected 15"),
        (slice(3, 3), ["x"], "line 3: 16 columns, expected 15"),
        (slice(14, 15), ["<=50K."], r"line 3: income is '<=50K\.', expected one of <=50K, >50K"),
        (slice(0, 1), ["old"], "a column of numbers holds something else.*old"),
    ],
)
def test_adult_bad_line(column, value, message, tmp_path, write_adult):
    rows = adult_rows(40)
    rows[2][column] = value
    write_adult(rows)
    with pytest.raises(DataError, match=message):
        Adult().load(tmp_path)


def test_real_adult(real, check_types):
    """The test rows of LiLAW's Table 19; 32,561 rows, 102 categories of which none is only in the test rows."""
    source = real(Adult())
    check_types(source, 2)
    assert source.train_input.shape == (22_792, 6 + 102)
    assert np.bincount(source.train_clean).tolist() == [24_720 - 7_417, 7_841 - 2_352]
    assert np.bincount(source.test_clean).tolist() == [7_417, 2_352]
    both = torch.cat([source.train_input, source.test_input])
    assert both[:, 6].sum() == 1_836  # workclass "?"
    assert (both[:, 6:].sum(dim=1) == 8).all()  # one category in each of eight columns
    sizes = {name: len(np.unique(group)) for name, group in source.test_groups.items()}
    assert sizes == {"sex": 2, "race": 5, "age": 6}
    assert all(group.shape == (9_769,) and group.dtype.kind == "U" for group in source.test_groups.values())


def test_real_adult_is_standardised_by_its_training_rows(real, real_dir):
    source = real(Adult())
    numbers = source.train_input[:, :6].double()
    np.testing.assert_allclose(numbers.mean(dim=0), 0, atol=1e-5)
    np.testing.assert_allclose(numbers.std(dim=0, correction=0), 1, atol=1e-5)
    rows = [line.split(", ") for line in (real_dir / adult.FILE).read_text().splitlines() if line]
    age, target = np.array([float(row[0]) for row in rows]), np.array([row[-1] == ">50K" for row in rows])
    train, test = adult.split_rows(target, 0.3)
    expected = (age[test] - age[train].mean()) / age[train].std()
    np.testing.assert_allclose(source.test_input[:, 0], expected, atol=1e-5)
