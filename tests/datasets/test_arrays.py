"""Arrays in one file: which rows and labels are whose, what is known of them, and what is refused by name."""

import pickle
import zipfile

import numpy as np
import pytest
import torch

from lilawbench.datasets.arrays import Arrays
from lilawbench.support.errors import DataError

PIXELS = np.arange(10 * 2 * 3, dtype=np.uint8).reshape(10, 2, 3)
LABELS = np.arange(10)[:, None] % 2


@pytest.fixture
def load(tmp_path):
    """load({options}, **arrays) -> Source of a file with ten images in two classes, with changes; None: gone."""

    def make(options=None, **arrays):
        given = {"train_images": PIXELS, "train_labels": LABELS} | arrays
        np.savez(tmp_path / "my.npz", **{name: array for name, array in given.items() if array is not None})
        return Arrays("my.npz", **(options or {})).load(tmp_path)

    return make


def test_grey_and_colour_images(load):
    grey = load()
    rows = [int(row) for row in grey.train_ids]
    assert torch.equal(grey.train_input, torch.from_numpy(PIXELS[rows])[:, None])
    colour = np.stack([PIXELS, PIXELS + 1, PIXELS + 2], axis=-1)
    source = load(train_images=colour.astype(">i4"), test_images=colour[:4], test_labels=LABELS[:4])
    assert source.train_input.shape == (10, 3, 2, 3) and source.train_input.dtype == torch.uint8
    assert source.train_input[1, :, 0, 0].tolist() == [6, 7, 8]
    assert source.mean == pytest.approx(tuple(colour.mean(axis=(0, 1, 2)) / 255))
    assert (source.task, source.class_names, source.clean_known) == ("binary", ("0", "1"), False)
    assert source.train_observed is None and source.train_ids is None


def test_without_a_test_part_it_is_drawn_and_rows_keep_their_numbers(load):
    source = load({"test_fraction": 0.4, "split_seed": 1})
    train, test = source.train_ids.astype(int), source.test_ids.astype(int)
    assert sorted([*train, *test]) == list(range(10)) and len(test) == 4
    assert (source.train_clean == train % 2).all() and (source.test_clean == test % 2).all()
    assert np.bincount(source.test_clean).tolist() == [2, 2]
    assert load({"test_fraction": 0.4, "split_seed": 2}).test_ids.tolist() != source.test_ids.tolist()


def test_labels_to_learn_from_and_labels_to_measure_by(load):
    clean, aggre = 1 - LABELS, np.ones((10, 1), int) * (np.arange(10)[:, None] > 4)
    arrays = {"train_clean": clean, "train_aggre": aggre, "test_images": PIXELS, "test_labels": clean}
    source = load(**arrays)
    assert source.clean_known and source.train_clean.tolist() == clean[:, 0].tolist()
    assert source.train_observed.tolist() == LABELS[:, 0].tolist()
    assert load({"labels": "aggre"}, **arrays).train_observed.tolist() == aggre[:, 0].tolist()
    assert load({"labels": "clean"}, **arrays).train_observed.tolist() == clean[:, 0].tolist()
    told = load({"labels": "aggre", "clean": "labels"}, **arrays)  # the command line says which are right
    assert told.train_clean.tolist() == LABELS[:, 0].tolist()
    assert load({"clean": "labels"}, **(arrays | {"train_clean": None})).clean_known


def test_validation_rows_have_labels_of_the_same_name_if_there_are_such(load):
    val = {
        "val_images": PIXELS[:2],
        "val_labels": [0, 1],
        "val_aggre": [1, 1],
        "val_clean": [1, 0],
        "val_ids": ["a", "b"],
    }
    arrays = {"train_clean": LABELS, "train_aggre": LABELS, "train_random": LABELS, "test_images": PIXELS,
              "test_labels": LABELS, **val}  # fmt: skip
    source = load({"labels": "aggre"}, **arrays)
    assert (source.val_observed.tolist(), source.val_clean.tolist()) == ([1, 1], [1, 0])
    assert source.val_ids.tolist() == ["a", "b"] and source.labelled_given.tolist()[-2:] == [1, 1]
    assert load({"labels": "random"}, **arrays).val_observed.tolist() == [0, 1]
    assert load(**(arrays | {"val_clean": None})).val_clean.tolist() == [0, 1]


def test_the_clean_labels_of_the_test_rows_are_what_is_tested(load):
    arrays = {"train_clean": LABELS, "test_images": PIXELS[:2], "test_labels": [0, 1]}
    assert load(**arrays).test_clean.tolist() == [0, 1]
    assert load(**arrays, test_clean=[1, 1]).test_clean.tolist() == [1, 1]


def test_series_and_features(load):
    series = np.arange(40.0).reshape(10, 4)
    source = load(train_images=None, train_series=series, test_series=series[:2], test_labels=[0, 1])
    assert source.input_shape == (4, 1) and not source.is_image and source.mean is None
    assert source.train_input.mean().item() == pytest.approx(0, abs=1e-6)
    assert source.train_input.std(correction=0).item() == pytest.approx(1)
    two = np.stack([series, 100 * series], axis=-1)
    source = load(train_images=None, train_series=two, test_series=two[:2], test_labels=[0, 1])
    assert torch.allclose(source.train_input[..., 0], source.train_input[..., 1])  # each channel by its own scale
    plain = load(
        {"standardise": False}, train_images=None, train_features=series, test_features=series, test_labels=LABELS
    )
    assert plain.train_input.tolist() == series.tolist() and plain.test_input.dtype == torch.float32


@pytest.mark.parametrize(
    "labels, names, numbers",
    [
        (["img10", "img2", "img2"], ("img2", "img10"), [1, 0, 0]),
        ([b"cat", b" dog", b"dog"], ("cat", "dog"), [0, 1, 1]),
        (["e\u0301", "\u00e9", "f"], ("f", "\u00e9"), [1, 1, 0]),  # two forms of one letter
        ([10, 2, 2], ("2", "10"), [1, 0, 0]),
        ([1.0, 2.0, 1.0], ("1", "2"), [0, 1, 0]),
        ([-1, 1, 1], ("-1", "1"), [0, 1, 1]),
        ([True, False, True], ("0", "1"), [1, 0, 1]),
    ],
)
def test_classes_that_the_labels_tell(load, labels, names, numbers):
    arrays = {"train_images": PIXELS[:3], "test_images": PIXELS[:3], "test_labels": labels}
    source = load(train_labels=labels, **arrays)
    assert (source.class_names, source.train_clean.tolist()) == (names, numbers)


def test_classes_that_the_file_names(load):
    tested = {"test_images": PIXELS[:1], "test_labels": [1]}
    assert load(class_names=["dog", "cat"], **tested).class_names == ("dog", "cat")  # number i is name i
    source = load(
        class_names=["dog", "cat"], train_labels=["cat", "dog"] * 5, test_images=PIXELS[:1], test_labels=["cat"]
    )
    assert (source.class_names, source.train_clean.tolist()[:2]) == (("dog", "cat"), [1, 0])


def test_several_labels_and_values(load):
    several = np.eye(10, 3, dtype=np.uint8)
    source = load({"task": "multilabel"}, train_labels=several, class_names=["a", "b", "c"])
    assert (source.task, source.class_names, source.train_clean.shape) == ("multilabel", ("a", "b", "c"), (8, 3))
    source = load({"task": "regression"}, train_labels=np.arange(10.0))
    assert (source.task, source.class_names, source.train_clean.dtype) == ("regression", ("value",), np.float32)
    assert source.target_range == np.ptp(source.train_clean)
    assert load({"task": "regression", "target_range": 16}, train_labels=np.arange(10.0)).target_range == 16


def test_row_names_and_groups(load):
    tested = {"test_images": PIXELS[:2], "test_labels": [0, 1], "test_group": ["x", "y"]}
    source = load(train_index=np.arange(100, 110), **tested)
    assert source.train_ids.tolist() == [str(i) for i in range(100, 110)] and source.test_ids is None
    assert source.test_groups["group"].tolist() == ["x", "y"]
    drawn = load(train_index=np.arange(100, 110), train_group=list("ab" * 5))
    assert all("ab"[int(i) % 2] == group for i, group in zip(drawn.test_ids, drawn.test_groups["group"], strict=True))


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"train_images": None}, "has the arrays train_labels; it needs train_labels and one of train_images"),
        ({"train_features": np.zeros((10, 2))}, "one of train_images"),
        ({"train_labels": None, "train_noisy": LABELS}, "no array 'train_labels'; of train it has train_images, tr"),
        ({"train_images": PIXELS / 255}, r"float64 \[10, 2, 3\], from 0 to 0.23.*; pixels are whole numbers"),
        ({"train_images": PIXELS.astype(np.uint16) * 9}, "uint16 .* from 0 to 531; pixels"),
        ({"train_images": PIXELS > 5}, "bool"),
        ({"train_images": np.zeros((10, 3, 8, 8), np.uint8)}, "channels come last"),
        ({"train_images": np.zeros((10, 8, 8, 4), np.uint8)}, r"images are \[N, H, W\]"),
        ({"train_images": PIXELS[0]}, r"uint8 \[2, 3\]; expected \[N, H, W\]"),
        ({"train_images": PIXELS[:0], "train_labels": LABELS[:0]}, "with rows"),
        ({"train_labels": LABELS[:9]}, r"train_labels is int64 \[9, 1\], and train_images has 10 rows"),
        ({"train_labels": 3}, r"train_labels is int64 \[\], and train_images has 10 rows"),
        ({"train_labels": np.eye(10)}, "Several labels a sample need dataset.task=multilabel"),
        ({"train_labels": LABELS + 0.5}, r"train_labels is 0.5 in row 0; classes are whole .* dataset.task=regression"),
        ({"train_labels": np.where(LABELS, np.nan, 0)}, "train_labels is nan in row 1"),
        ({"train_labels": np.full(10, 1e300)}, r"is 1e\+300 in row 0"),
        ({"train_labels": LABELS - 1}, "train_labels is -1 in row 0; a class number is not negative"),
        ({"train_labels": ["a", ""] * 5}, r"no label in row 1 \(5 such rows\)"),
        ({"train_labels": np.array(["a", np.nan] * 5)}, "no label in row 1"),
        ({"train_labels": [b"a", b"\xe9"] * 5}, r"train_labels holds b'\\xe9', which is not UTF-8"),
        ({"train_labels": np.full(10, 7)}, "one class only, 7"),
        ({"train_labels": LABELS + 1j}, "complex128"),
        ({"train_labels": [0] * 9 + [1]}, r"too few samples of '1' \(1\); the split dataset.test_fraction=0.2 needs 5"),
        ({"train_clean": ["a", "b"] * 5}, "numbers in one array and text in another"),
        ({"class_names": ["a", "b"], "train_labels": [0, 2] * 5}, r"is 2 in row 1 \(5 such rows\), none of .* 0, 1"),
        ({"class_names": ["a", "b"], "train_labels": ["a", "c"] * 5}, "is c in row 1 .* none of the 2 classes a, b"),
        ({"class_names": ["a", "a"]}, "class_names has 'a' twice"),
        ({"class_names": [["a", "b"]]}, "class_names is <U1"),
        ({"test_images": PIXELS, "test_labels": LABELS + 4}, "test_labels is 4 in row 0 .* none of the 2 classes 0, 1"),
        ({"test_images": PIXELS}, "has no array 'test_labels'"),
        ({"test_labels": LABELS}, "has test_labels, and no test_images"),
        ({"test_images": PIXELS[:, :1], "test_labels": LABELS}, "test_images is .*, and train_images uint8"),
        ({"train_ids": ["a"]}, "train_ids is <U1"),
    ],
)  # fmt: skip
def test_what_is_refused(load, arrays, message):
    with pytest.raises(DataError, match=message) as refused:
        load(**arrays)
    assert "my.npz" in str(refused.value)


def test_features_that_are_not_finite_are_named(load):
    features = np.ones((10, 3))
    features[4, 1] = np.nan
    with pytest.raises(DataError, match=r"train_features\[4, 1\] is nan \(1 such numbers\)"):
        load(train_images=None, train_features=features)
    with pytest.raises(DataError, match=r"train_features\[0, 0\] is inf"):
        load(train_images=None, train_features=np.full((10, 3), 1e39))


@pytest.mark.parametrize(
    "options, arrays, message",
    [
        ({"labels": "worst"}, {}, "no array 'train_worst'"),
        ({"clean": "right"}, {}, "no array 'train_right'"),
        ({"task": "multilabel"}, {"train_labels": np.eye(10, 3) * 2}, "is 2.0 in row 0, label 0; it must be 0 or 1"),
        ({"task": "multilabel"}, {"train_labels": np.eye(10, 3), "class_names": ["a"]}, "different numbers of labels"),
        ({"task": "regression"}, {"train_labels": [1.0] * 9 + [np.inf]}, "is inf in row 9"),
        ({"task": "regression"}, {"train_labels": np.ones(10)}, "train_labels has one value only"),
        ({"task": "regression"}, {"train_labels": ["a"] * 10}, "values to predict are numbers"),
    ],
)  # fmt: skip
def test_what_options_make_of_it_is_refused(load, options, arrays, message):
    with pytest.raises(DataError, match=message):
        load(options, **arrays)


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_pickles_and_damaged_files_are_not_opened(load, tmp_path):
    with pytest.raises(
        DataError, match="array 'train_labels' holds Python objects, which could run code and are not opened"
    ):
        load(train_labels=np.array([Trap()] * 10, dtype=object))
    path = tmp_path / "other.npz"
    for content in (pickle.dumps([1]), b"", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is no .npz file"):
            Arrays("other.npz").load(tmp_path)
    np.savez_compressed(path, train_images=PIXELS, train_labels=LABELS)
    content = path.read_bytes()
    path.write_bytes(content[:90] + bytes(20) + content[110:])
    with pytest.raises(DataError, match=r"other.npz: array 'train_images' cannot be read"):
        Arrays("other.npz").load(tmp_path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train_images", "text")
        file.writestr("train_labels", pickle.dumps(Trap()))
    with pytest.raises(DataError, match="'train_images' is no array"):
        Arrays("other.npz").load(tmp_path)


@pytest.mark.parametrize("path, words", [("absent.npz", "does not exist"), (".", "is a folder")])
def test_no_such_file(tmp_path, path, words):
    with pytest.raises(DataError, match=f"dataset.path={path} {words}"):
        Arrays(path).load(tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"task": "binary"}, "task is 'binary'"),
        ({"test_fraction": 1}, "test_fraction is 1"),
        ({"split_seed": -1}, "split_seed is -1"),
        ({"target_range": 3}, "target_range is 3"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Arrays("my.npz", **options)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "labels, wrong",
    [
        ("labels", 0.406),
        pytest.param("aggre", 0.089, marks=SLOW),
        pytest.param("random1", 0.174, marks=SLOW),
        pytest.param("clean", 0, marks=SLOW),
    ],
)
def test_real_human_labels(real_dir, labels, wrong):
    source = Arrays("cifar10-subset/cifar10_subset.npz", labels=labels).load(real_dir)
    assert (source.train_observed != source.train_clean).mean() == pytest.approx(wrong, abs=5e-4)
    assert (len(source.train_clean), len(source.test_clean), source.input_shape) == (8068, 1017, (3, 32, 32))
    assert source.class_names[3] == "cat" and source.train_ids[4000] == "10000"


def test_a_file_of_medmnist(real_dir):
    from lilawbench.datasets.medmnist import MedMNIST

    source, official = Arrays("medmnist/breastmnist.npz").load(real_dir), MedMNIST().load(real_dir)
    for name in ("train_input", "val_input", "test_input"):
        assert torch.equal(getattr(source, name), getattr(official, name))
    assert source.val_clean.tolist() == official.val_clean.tolist() and not source.clean_known
