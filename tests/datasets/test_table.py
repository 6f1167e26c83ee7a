"""The user's own table: features found by type, fitted on the training rows, labels, splits, and what is refused."""

import numpy as np
import pytest
import torch

from lilawbench.datasets.spelling import MISSING
from lilawbench.datasets.table import Table
from lilawbench.loading.split import stratified_test
from lilawbench.support.errors import DataError

HEAD = ["id", "height", "pets", "city", "sex", "y"]


def people(count: int = 40) -> list[list[str]]:
    """Distinct heights but in every eighth row; 0-2 pets; two cities but in every fifth row; labels b, a by turns."""
    return [
        [f"p{i}", "" if i % 8 == 0 else str(150 + i), str(i % 3), "" if i % 5 == 0 else ["Rom", "Ulm"][i % 2],
         ["m", "f"][i // 2 % 2], ["b", "a"][i % 2]]
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """write(rows) -> path of the CSV with them."""

    def make(rows: list[list[str]], name: str = "my.csv", head: list[str] = HEAD) -> str:
        path = tmp_path / name
        path.write_text("".join(",".join(row) + "\n" for row in [head, *rows]))
        return str(path)

    return make


def table(path: str, **options) -> Table:
    return Table(path, "y", **{"ignore": ["id"], **options})


def test_features_by_hand(write):
    """Training rows 1, 2, 3, none and 6: median 2.5, then mean 2.9 and variance 2.84; flag; a, b, missing; tested c."""
    head = ["x", "c", "y"]
    rows = [["1", "a", "0"], ["2", "b", "1"], ["3", "", "0"], ["", "a", "1"], ["6", "b", "0"]]
    tested = write([["4", "c", "1"], ["", "a", "0"]], "test.csv", head)
    source = Table(write(rows, head=head), "y", test_path=tested).load(None)
    x = (np.array([1, 2, 3, 2.5, 6]) - 2.9) / np.sqrt(2.84)
    flag, one_hot = [0, 0, 0, 1, 0], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(source.train_input, np.column_stack([x, flag, one_hot]), atol=1e-6)
    expected = [[(4 - 2.9) / np.sqrt(2.84), 0, 0, 0, 0], [(2.5 - 2.9) / np.sqrt(2.84), 1, 1, 0, 0]]
    np.testing.assert_allclose(source.test_input, expected, atol=1e-6)
    assert source.test_clean.tolist() == [1, 0] and source.train_clean.tolist() == [0, 1, 0, 1, 0]
    assert source.class_names == ("0", "1")


def test_split_is_stratified_seeded_and_the_same_for_every_run(write, check_types):
    path = write(people())
    first, again, other = (table(path, split_seed=seed).load(None) for seed in (0, 0, 1))
    check_types(first, 2)
    assert np.bincount(first.test_clean).tolist() == [4, 4]
    assert torch.equal(first.test_input, again.test_input) and not torch.equal(first.test_input, other.test_input)
    assert first.input_shape == (2 + 1 + 3 + 2,)  # height, pets, height missing, city and missing, sex


def test_test_rows_do_not_shape_the_training_inputs(write):
    rows = people()
    before = table(write(rows)).load(None)
    labels = np.array([["a", "b"].index(row[-1]) for row in rows])
    for i in stratified_test(labels, "ab", 0.2, 0, "")[1]:
        rows[i][1], rows[i][3] = "9999", "Bonn"
    after = table(write(rows)).load(None)
    assert torch.equal(before.train_input, after.train_input)
    assert not after.test_input[:, 3:6].any()  # a city that no training row has
    assert after.test_input[:, 0].min() > 100


def test_clean_labels_are_beside_the_given_ones(write):
    rows = [[*row, "a" if i < 4 else row[-1]] for i, row in enumerate(people())]
    source = table(write(rows, head=[*HEAD, "truth"]), clean_label="truth").load(None)
    assert source.clean_known
    wrong = np.flatnonzero(source.train_observed != source.train_clean)
    assert len(wrong) <= 2 and (source.train_clean[wrong] == 0).all()
    assert source.input_shape == (8,)  # the truth is no feature
    unknown = table(write(people())).load(None)
    assert not unknown.clean_known and unknown.train_observed is None


def test_fewer_rows_keep_their_given_labels(write):
    rows = [[*row, "b" if i == 1 else row[-1]] for i, row in enumerate(people())]
    path = write([[str(i), *row[1:]] for i, row in enumerate(rows)], head=[*HEAD, "truth"])
    data = Table(path, "y", clean_label="truth", per_class=5, numeric=["id"], ignore=["height", "pets", "city", "sex"])
    whole, part = data.load(None), data.source(None, np.random.default_rng(0))
    given = {row[0].item(): label for row, label in zip(whole.train_input, whole.train_observed, strict=True)}
    assert np.bincount(part.train_clean).tolist() == [5, 5]
    assert [given[row[0].item()] for row in part.train_input] == part.train_observed.tolist()


def test_labels_that_are_numbers_are_in_their_order(write):
    rows = [[*row[:-1], ["10", "9", "-1"][i % 3]] for i, row in enumerate(people(30))]
    assert table(write(rows)).load(None).class_names == ("-1", "9", "10")


def test_groups_are_of_the_test_rows_and_features_unless_ignored(write):
    source = table(write(people()), groups=["sex", "city"]).load(None)
    assert source.test_groups["sex"].tolist() == ["mf"[int(f)] for f in source.test_input[:, -2]]
    assert set(source.test_groups["city"]) <= {"Rom", "Ulm", "missing"}
    assert table(write(people()), groups=["sex"], ignore=["id", "sex"]).load(None).input_shape == (6,)


def test_a_column_of_values_is_a_regression(write):
    """Values 0 to 19 and a clean column that differs in the first row; R is that of the training rows."""
    rows = [[str(i % 7), str(i), str(i + (i == 0) / 2)] for i in range(20)]
    path = write(rows, head=["x", "y", "truth"])
    dataset = Table(path, "y", clean_label="truth", task="regression")
    source = dataset.load(None)
    assert (dataset.task, dataset.num_classes, source.task, source.class_names) == (
        "regression",
        1,
        "regression",
        ("y",),
    )
    assert source.train_observed.dtype == source.test_clean.dtype == np.float32
    assert sorted([*source.train_clean, *source.test_clean]) == [0.5, *range(1, 20)]
    assert source.target_range == np.ptp(source.train_observed) and len(source.test_clean) == 4
    tested = Table(path, "y", task="regression", test_path=write(rows[:3], "t.csv", ["x", "y", "truth"])).load(None)
    assert tested.test_clean.tolist() == [0, 1, 2] and not tested.clean_known


@pytest.mark.parametrize(
    "rows, message",
    [
        ([["1", "2"], ["2", "two"], ["3", "x"]], r"line 3: 'two' in column 'y' is not a finite number \(2 such rows\)"),
        ([["1", "2"], ["2", ""]], "line 3: no label in column 'y'"),
        ([["1", "2"], ["2", "2"]], "column 'y' has one value only, 2"),
    ],
)
def test_values_that_are_refused(write, rows, message):
    with pytest.raises(DataError, match=message):
        Table(write(rows, head=["x", "y"]), "y", task="regression").load(None)


def test_types_can_be_forced(write):
    assert table(write(people()), categorical=["pets"]).load(None).input_shape == (1 + 1 + 3 + 3 + 2,)
    with pytest.raises(
        DataError, match=r"my\.csv, line 2: 'm' in the numeric column 'sex' is not a finite number \(40 such"
    ):
        table(write(people()), numeric=["sex"]).load(None)


def test_a_path_below_the_data_folder(write, tmp_path):
    write(people())
    assert len(table("my.csv").load(tmp_path).train_clean) == 32
    with pytest.raises(DataError, match=r"dataset\.path=my\.csv does not exist"):
        table("my.csv").load(None)
    with pytest.raises(DataError, match=r"dataset\.test_path=other\.csv does not exist"):
        table("my.csv", test_path="other.csv").load(tmp_path)


def bad(column: int, value: str, row: int = 2) -> list[list[str]]:
    """`people` with one other value, by default in line 4."""
    rows = people()
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    "rows, options, message",
    [
        (people(), {"label": "z"}, r"my\.csv has no column 'z' \(dataset\.label\); its columns are 'id', 'height'"),
        (people(), {"clean_label": "z"}, r"no column 'z' \(dataset\.clean_label\)"),
        (people(), {"groups": ["sex", "race"]}, r"no column 'race' \(dataset\.groups\)"),
        (people(), {"ignore": ["nr"]}, r"no column 'nr' \(dataset\.ignore\)"),
        (people(), {"ignore": HEAD[:-1]}, r"my\.csv has no feature column besides"),
        (people(), {"max_categories": 1}, r"column 'city' holds 3 different .* dataset\.ignore=\[city\]"),
        (bad(5, ""), {}, r"my\.csv, line 4: no label in column 'y' \(1 such rows"),
        (bad(5, "c"), {}, r"column 'y': too few samples of 'c' \(1\); the split dataset\.test_fraction=0\.2 needs 5"),
        ([[*row[:-1], "a"] for row in people()], {}, r"column 'y' has one label only, 'a'"),
        ([[row[0], "", *row[2:]] for row in people()], {"numeric": ["height"]}, r"'height' has no value in the train"),
    ],
)  # fmt: skip
def test_what_is_refused(write, rows, options, message):
    path = write(rows)
    with pytest.raises(DataError, match=message):
        Table(path, **{"label": "y", "ignore": ["id"], **options}).load(None)


@pytest.mark.parametrize(
    "rows, head, message",
    [
        (bad(5, "c"), HEAD, r"test\.csv, line 4: label 'c' in column 'y' is none of the training labels 'a', 'b'"),
        (bad(1, "tall"), HEAD, r"test\.csv, line 4: 'tall' in the numeric column 'height'"),
        (people(), [*HEAD[:2], "cats", *HEAD[3:]], r"test\.csv has no column 'pets' \(as the training file has them\)"),
    ],
)
def test_a_test_file_that_does_not_fit(write, rows, head, message):
    tested = write(rows, "test.csv", head)
    with pytest.raises(DataError, match=message):
        table(write(people()), test_path=tested).load(None)


def test_a_test_file_with_other_categories_is_told(write, caplog):
    tested = write([[*row[:3], ["roma", "ulm"][i % 2], *row[4:]] for i, row in enumerate(people())], "test.csv")
    table(write(people()), test_path=tested).load(None)
    assert (
        "test.csv: column 'city': 40 of 40 rows have categories that no training row has, such as 'roma'" in caplog.text
    )


def test_a_constant_column_is_zero(write):
    """.1 is no binary fraction: its mean over 7 rows is off by a rounding, and so is its deviation from it."""
    rows = [["0.1", "1e9", str(i), str(i % 2)] for i in range(7)]
    source = Table(write(rows, head=["a", "b", "c", "y"]), "y", test_path=write(rows, "t.csv", ["a", "b", "c", "y"]))
    assert source.load(None).train_input[:, :2].abs().max() < 1e-6


@pytest.mark.parametrize(
    "spellings, names",
    [
        (["1", "1.0", "0", " 0.0"], ("0", "1")),
        (["10", "9", "10.0", "9"], ("9", "10")),
        (["grade 10", "grade 9", "grade 10", "grade 9"], ("grade 9", "grade 10")),
        (["Über", "U\u0308ber", "no ", "no"], ("no", "Über")),
    ],
)
def test_spellings_of_one_label(write, spellings, names):
    rows = [[*row[:-1], spellings[i % 4]] for i, row in enumerate(people())]
    assert table(write(rows)).load(None).class_names == names


def test_labels_that_look_alike_are_said(write, caplog):
    rows = [[*row[:-1], ["yes", "Yes", "no", "01", "1"][i % 5]] for i, row in enumerate(people())]
    assert len(table(write(rows)).load(None).class_names) == 5
    assert "'01' and '1'; 'Yes' and 'yes' count as different classes" in caplog.text


@pytest.mark.parametrize("word", ["", "NaN", "NAN", "nan", "N/A", "None"])
def test_rows_without_a_label(write, caplog, word):
    rows = bad(5, word)
    with pytest.raises(DataError, match=r"line 4: no label in column 'y' \(1 such rows.*dataset\.drop_unlabelled=true"):
        table(write(rows)).load(None)
    source = table(write(rows), drop_unlabelled=True).load(None)
    ids = [*source.train_ids, *source.test_ids]
    assert len(ids) == 39 and "line 4" not in ids and {"line 2", "line 3", "line 41"} < set(ids)
    assert "1 rows without a label in column 'y' are left out" in caplog.text


def test_too_many_labels_are_values(write):
    with pytest.raises(DataError, match=r"column 'y' has 40 different labels in 40 rows; .*dataset\.task=regression"):
        table(write([[*row[:-1], str(i / 2)] for i, row in enumerate(people())])).load(None)
    with pytest.raises(DataError, match=r"40 different labels in 40 rows; name another"):
        table(write([[*row[:-1], row[0]] for row in people()])).load(None)


def test_rows_have_names(write):
    """Of the column that is asked for, as it is spelled there; else their lines in the file."""
    rows = [[f"0{i}.0", *row[1:]] for i, row in enumerate(people())]
    named, lined = table(write(rows), id="id", ignore=[]).load(None), table(write(rows)).load(None)
    assert torch.equal(named.train_input, lined.train_input)
    assert sorted([*named.train_ids, *named.test_ids]) == sorted(row[0] for row in rows)
    line = [int(text.removeprefix("line ")) for text in lined.train_ids]
    assert named.train_ids.tolist() == [rows[i - 2][0] for i in line]


def test_names_of_rows_that_are_missing_or_alike(write, caplog):
    rows = people()
    rows[0][0], rows[1][0] = "", "p2"
    source = table(write(rows), id="id", ignore=[]).load(None)
    assert {"line 2", "p2", "p3"} < {*source.train_ids, *source.test_ids}
    assert "column 'id' has 39 names for 40 rows" in caplog.text


def test_what_each_column_was_taken_for(write, caplog):
    caplog.set_level("INFO")
    table(write(people()), ignore=[]).load(None)
    assert (
        "my.csv: 40 rows; label: y (a: 20, b: 20); numbers: height, pets; categories: city (3), sex (2); no features: "
        "id (identifier; dataset.numeric=[id] or dataset.categorical=[id] keeps it); missing numbers, filled with the "
        "median and flagged: height (5)"
    ) in caplog.text


@pytest.mark.parametrize(
    "options, message",
    [
        ({"decimal": ";"}, r"decimal is ';'; it must be"),
        ({"encoding": "utf-9"}, r"encoding is 'utf-9'; Python has no such"),
        ({"id": "y"}, r"id is 'y', which is the label"),
        ({"numeric": ["a"], "categorical": ["a"]}, r"numeric and categorical both name 'a'"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Table("my.csv", "y", **options)


def test_the_default_of_missing_is_the_config_s(composed):
    cfg = composed("dataset=table", "dataset.path=my.csv", "dataset.label=y")
    assert tuple(cfg.dataset.missing) == MISSING
