"""Embeddings: files that the tests write, which rows train, validate and test, and what is refused."""

import numpy as np
import pytest
import torch

from lilawbench.datasets.embeddings import Embeddings
from lilawbench.support.errors import DataError


@pytest.fixture
def write(tmp_path):
    """write(name, target, features=..., **arrays): an .npz file below tmp_path; features default to row numbers."""

    def save(name, target, features=None, **arrays):
        count = len(target)
        features = np.arange(2.0 * count).reshape(count, 2) if features is None else features
        np.savez(tmp_path / f"{name}.npz", features=features, target=np.asarray(target), **arrays)

    return save


def sources(*names):
    return {name: f"{name}.npz" for name in names}


def gait(**options):
    given = {"sources": sources("a", "b", "t"), "train": ["a", "b"], "test": ["t"], "num_classes": 4}
    return Embeddings(**(given | options))


def test_sources_are_joined_in_the_given_order(tmp_path, write):
    write("a", [0, 1, 2])
    write("b", [3, 3], features=np.array([[9.0, 1.0], [8.0, 1.0]]))
    write("t", [2])
    source = gait(train=["b", "a"], standardise=False).load(tmp_path)
    assert (source.task, source.num_classes, source.input_shape) == ("multiclass", 4, (2,))
    assert source.train_clean.tolist() == [3, 3, 0, 1, 2] and source.train_clean.dtype == np.int64
    assert source.train_input[:, 0].tolist() == [9, 8, 0, 2, 4] and source.train_input.dtype == torch.float32
    assert source.test_clean.tolist() == [2] and source.val_input is None and not source.test_groups


def test_features_are_standardised_by_the_training_rows(tmp_path, write):
    write("a", [0, 1], features=np.array([[1, 0], [3, 0]]))
    write("t", [1], features=np.array([[5, 2]]))
    source = gait(sources=sources("a", "t"), train=["a"]).load(tmp_path)
    assert source.train_input.tolist() == [[-1, 0], [1, 0]] and source.test_input.tolist() == [[3, 2]]


def test_a_source_of_its_own_validates(tmp_path, write):
    for name, target in (("a", [0, 1]), ("b", [2, 2, 3]), ("t", [0])):
        write(name, target)
    source = gait(train=["a"], meta=["b"]).load(tmp_path)
    assert source.train_clean.tolist() == [0, 1] and source.val_clean.tolist() == [2, 2, 3]
    assert source.val_input.shape == (3, 2)


def test_a_source_that_also_trains_gives_15_percent(tmp_path, write):
    """Train on a and b, validate on a: its 40 rows part into 34 and 6, each row in one of the two."""
    write("a", np.arange(40) % 4, features=np.arange(80.0).reshape(40, 2))
    write("b", [3, 3], features=np.full((2, 2), -1.0))
    write("t", [0])
    source = gait(meta=["a"], standardise=False).load(tmp_path)
    assert len(source.train_clean) == 36 and len(source.val_clean) == 6
    seen = sorted([*source.train_input[:, 0].tolist(), *source.val_input[:, 0].tolist()])
    assert seen == [-1, -1, *range(0, 80, 2)]
    assert not (source.val_input < 0).any()
    again = gait(meta=["a"], standardise=False).load(tmp_path)
    assert torch.equal(source.val_input, again.val_input)


def test_pain_has_values_and_a_known_range(tmp_path, write):
    write("a", [0.5, 16.0, 3.0])
    write("t", [1, 2])
    options = {"sources": sources("a", "t"), "train": ["a"], "task": "regression", "num_classes": None}
    source = gait(**options, target_range=16).load(tmp_path)
    assert (source.task, source.num_classes, source.target_range) == ("regression", 1, 16)
    assert source.train_clean.dtype == source.test_clean.dtype == np.float32
    assert gait(**options).load(tmp_path).target_range == 15.5


def test_several_labels(tmp_path, write):
    write("a", [[1, 0, 1], [0, 0, 0]])
    write("t", [[0, 1, 0]])
    source = gait(sources=sources("a", "t"), train=["a"], task="multilabel", num_classes=3).load(tmp_path)
    assert source.task == "multilabel" and source.train_clean.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_groups_of_the_test_rows(tmp_path, write):
    write("a", [0, 1])
    write("t", [0, 1], group=np.array(["healthy", "dementia"]))
    write("u", [1], group=np.array(["healthy"]))
    two = gait(sources=sources("a", "t", "u"), train=["a"], test=["t", "u"], num_classes=2).load(tmp_path)
    assert two.task == "binary"
    assert {name: group.tolist() for name, group in two.test_groups.items()} == {
        "source": ["t", "t", "u"], "group": ["healthy", "dementia", "healthy"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"target": [0, 1, 2]}, r"target is int64 \[3\]; multiclass data want whole numbers \[2\]"),
        ({"target": [0.5, 1.0]}, r"target is float64 \[2\]; multiclass data want whole numbers"),
        ({"target": [0, 4]}, r"target is 4 in row 1; it must lie in 0\.\.3"),
        ({"target": [-1, 0]}, "target is -1 in row 0"),
        ({"features": np.zeros((2, 2, 2))}, r"features are float64 \[2, 2, 2\]; they must be finite numbers \[N, D\]"),
        ({"features": np.array([[1, np.nan], [0, 0]])}, "finite numbers"),
        ({"features": np.zeros((2, 3))}, r"different numbers of features: {'a': 3, 'b': 2, 't': 2}"),
        ({"group": np.array(["x"])}, r"group is <U1 \[1\]; it must have a text or number for each of 2"),
        ({"group": np.array([{}, {}], dtype=object)}, "array 'group' holds Python objects"),
        ({"target": np.array([0, None], dtype=object)}, "array 'target' holds Python objects"),
    ],
)
def test_wrong_arrays(tmp_path, write, arrays, message):
    for name in ("a", "b", "t"):
        write(name, [0, 1])
    np.savez(tmp_path / "a.npz", **({"features": np.zeros((2, 2)), "target": np.array([0, 1])} | arrays))
    with pytest.raises(DataError, match=message):
        gait().load(tmp_path)


def test_missing_files_and_arrays(tmp_path, write):
    for name in ("a", "b"):
        write(name, [0, 1])
    with pytest.raises(DataError, match=r"dataset\.sources\.t=t\.npz does not exist"):
        gait().load(tmp_path)
    np.savez(tmp_path / "t.npz", features=np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"t\.npz has no array 'target'"):
        gait().load(tmp_path)
    (tmp_path / "t.npz").write_text("no zip")
    with pytest.raises(DataError, match="is no .npz file"):
        gait().load(tmp_path)


def test_values_that_are_not_finite_are_named(tmp_path, write):
    write("a", [0.0, np.inf])
    write("t", [1.0])
    with pytest.raises(DataError, match="target is not finite in row 1"):
        gait(sources=sources("a", "t"), train=["a"], task="regression").load(tmp_path)


def test_rows_are_named_by_source_and_number_or_the_file_s_own_names(tmp_path, write):
    write("a", [0, 1], ids=np.array(["x", "y"]))
    write("b", [2, 3])
    write("t", [0])
    source = gait(meta=["b"], train=["a"]).load(tmp_path)
    assert source.train_ids.tolist() == ["a:x", "a:y"] and source.val_ids.tolist() == ["b:0", "b:1"]
    assert source.test_ids.tolist() == ["t:0"]


def test_right_targets_are_known_where_each_learned_source_has_them_or_somebody_says_so(tmp_path, write):
    write("a", [0, 1, 2], clean=np.array([0, 1, 3]))
    write("b", [3, 3])
    write("t", [2], clean=np.array([1]))
    assert not gait().load(tmp_path).clean_known  # b has none
    source = gait(train=["a"]).load(tmp_path)
    assert source.clean_known and source.test_clean.tolist() == [1]
    assert (source.train_observed.tolist(), source.train_clean.tolist()) == ([0, 1, 2], [0, 1, 3])
    source = gait(clean="target").load(tmp_path)
    assert source.clean_known and source.train_clean.tolist() == [0, 1, 2, 3, 3]
    with pytest.raises(DataError, match=r"b\.npz has no array 'clean'"):
        gait(clean="clean").load(tmp_path)


def test_one_file(tmp_path):
    arrays = {"train_features": np.eye(6), "train_labels": ["u", "v"] * 3, "train_clean": ["v", "u"] * 3}
    np.savez(tmp_path / "one.npz", **arrays, test_features=np.eye(6)[:2], test_labels=["u", "v"])
    dataset = Embeddings(path="one.npz", standardise=False)
    source = dataset.load(tmp_path)
    assert source.train_input.tolist() == np.eye(6).tolist() and source.class_names == ("u", "v")
    assert source.clean_known and source.train_observed.tolist() == [0, 1] * 3 and dataset.num_classes is None
    np.savez(tmp_path / "one.npz", train_images=np.zeros((6, 2, 2), np.uint8), train_labels=[0, 1] * 3,
             test_images=np.zeros((6, 2, 2), np.uint8), test_labels=[0, 1] * 3)  # fmt: skip
    with pytest.raises(DataError, match="has no train_features .*; use dataset=arrays"):
        dataset.load(tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "name one file"),
        ({"path": "a.npz", "sources": {"a": "a.npz"}}, "name one file"),
        ({"path": "a.npz", "num_classes": 3}, "num_classes belongs to sources"),
        ({"sources": {"a": "a.npz"}, "train": ["a"], "num_classes": 2}, "test is None; it must list sources"),
    ],
)
def test_one_file_or_sources(options, message):
    with pytest.raises(ValueError, match=message):
        Embeddings(**options)
