"""MedMNIST: small files in its layout, the twelve 2-D sets' constants, and the real BreastMNIST."""

import numpy as np
import pytest
import torch

from lilawbench.datasets.medmnist import MedMNIST, catalogue
from lilawbench.support.errors import DataError

CLASSES_AND_CHANNELS = {
    "pathmnist": (9, 3), "dermamnist": (7, 3), "octmnist": (4, 1), "pneumoniamnist": (2, 1), "retinamnist": (5, 3),
    "breastmnist": (2, 1), "bloodmnist": (8, 3), "tissuemnist": (8, 1), "organamnist": (11, 1), "organcmnist": (11, 1),
    "organsmnist": (11, 1),
}  # fmt: skip
PARTS = (("train", 30), ("val", 12), ("test", 20))  # rows of the small files


@pytest.fixture
def write_set(tmp_path, monkeypatch, md5):
    """write_set("pathmnist", 64, val_labels=...): an official file below tmp_path, some of its arrays replaced."""

    def write(flag, size=28, **replaced):
        num_classes, channels = CLASSES_AND_CHANNELS.get(flag, (14, 1))
        random = np.random.default_rng(0)
        arrays = {}
        for part, count in PARTS:
            shape = (count, size, size, 3) if channels == 3 else (count, size, size)
            arrays[f"{part}_images"] = random.integers(0, 256, shape).astype(np.uint8)
            arrays[f"{part}_labels"] = (np.arange(count) % num_classes).astype(np.uint8)[:, None]
        variant = "" if size == 28 else f"_{size}"
        path = tmp_path / "medmnist" / f"{flag}{variant}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **{name: array for name, array in (arrays | replaced).items() if array is not None})
        monkeypatch.setitem(catalogue()[flag], f"MD5{variant}", md5(path))
        monkeypatch.setitem(catalogue()[flag], f"url{variant}", f"http://127.0.0.1:1/{path.name}")
        return arrays

    return write


@pytest.mark.parametrize("flag", CLASSES_AND_CHANNELS)
def test_every_set_of_single_labels(flag, write_set, tmp_path, check_types):
    arrays = write_set(flag)
    num_classes, channels = CLASSES_AND_CHANNELS[flag]
    dataset = MedMNIST(flag)
    source = dataset.load(tmp_path)
    assert dataset.official_val and dataset.num_classes == num_classes
    check_types(source, num_classes)
    assert source.train_input.shape == (30, channels, 28, 28)
    assert (len(source.val_input), len(source.val_clean), len(source.test_clean)) == (12, 12, 20)
    assert source.val_clean.tolist() == [i % num_classes for i in range(12)]
    last = arrays["val_images"].reshape(12, 28, 28, channels)[-1]
    assert torch.equal(source.val_input[-1], torch.from_numpy(last).permute(2, 0, 1))
    assert source.mean == source.std == (0.5,) * channels


def test_chestmnist_has_several_labels_a_sample(write_set, tmp_path):
    labels = {part: np.random.default_rng(1).integers(0, 2, (n, 14)) for part, n in PARTS}
    write_set("chestmnist", **{f"{part}_labels": array.astype(np.uint8) for part, array in labels.items()})
    source = MedMNIST("chestmnist").source(tmp_path, np.random.default_rng(0))
    assert (source.task, source.num_classes, source.class_names[0]) == ("multilabel", 14, "atelectasis")
    for found, part in [(source.train_clean, "train"), (source.val_clean, "val"), (source.test_clean, "test")]:
        assert found.dtype == np.int64 and np.array_equal(found, labels[part])
    write_set("chestmnist")
    with pytest.raises(DataError, match=r"labels \[30, 1\], expected .* labels \[N, 14\]"):
        MedMNIST("chestmnist").load(tmp_path)


@pytest.mark.parametrize("size", [64, 128, 224])
def test_the_larger_sizes_are_files_of_their_own(size, write_set, tmp_path):
    write_set("retinamnist", size)
    source = MedMNIST("retinamnist", size=size, pixels="unit").load(tmp_path)
    assert source.input_shape == (3, size, size) and source.class_names == tuple("01234")
    assert (source.mean, source.std) == ((0, 0, 0), (1, 1, 1))
    with pytest.raises(DataError, match=r"medmnist/retinamnist\.npz is not on disk"):
        write_set("retinamnist")
        (tmp_path / "medmnist" / "retinamnist.npz").unlink()
        MedMNIST("retinamnist").load(tmp_path)


def test_classes_are_kept_in_all_three_parts(write_set, tmp_path):
    write_set("bloodmnist")
    source = MedMNIST("bloodmnist", classes=[7, 2]).source(tmp_path, np.random.default_rng(0))
    assert source.class_names == ("platelet", "erythroblast")
    assert [np.bincount(c).tolist() for c in (source.train_clean, source.val_clean, source.test_clean)] == [
        [3, 4], [1, 2], [2, 3]]  # fmt: skip


@pytest.mark.parametrize(
    "options, message",
    [
        ({"flag": "chestmnist", "per_class": 3}, "for one class a sample; these data are multilabel"),
        ({"flag": "vesselmnist3d"}, "flag is 'vesselmnist3d'; it must be one of pathmnist, .*organsmnist$"),
        ({"flag": "BreastMNIST"}, "flag is 'BreastMNIST'"),
        ({"size": 32}, "size is 32; it must be one of 28, 64, 128, 224"),
        ({"pixels": "raw"}, "it must be standard or unit"),
        ({"classes": [0, 2]}, r"2 is not a class; .* of 0\.\.1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MedMNIST(**options)


@pytest.mark.parametrize(
    "replaced, message",
    [
        (
            {"val_images": np.zeros((12, 28, 27), np.uint8)},
            r"val has uint8 images \[12, 28, 27\] and labels \[12, 1\], expected uint8 images \[N, 28, 28\]",
        ),
        (
            {"train_images": np.zeros((29, 28, 28), np.uint8)},
            r"train has uint8 images \[29, 28, 28\] and labels \[30, 1",
        ),
        ({"train_images": np.zeros((30, 28, 28), np.float32)}, "train has float32 images"),
        ({"test_labels": np.zeros(20, np.uint8)}, r"labels \[20\], expected"),
        ({"test_labels": np.full((20, 1), 2, np.uint8)}, "test has a label 2; they must be 0 to 1"),
        ({"val_labels": None}, "cannot be read: 'val_labels is not a file in the archive'"),
        ({"val_labels": np.array([["a"]], object)}, "cannot be read: Object arrays cannot be loaded"),
    ],
    ids=["side", "count", "floats", "flat labels", "label 2", "no labels", "pickled"],
)
def test_a_file_of_the_wrong_shapes(replaced, message, write_set, tmp_path):
    write_set("breastmnist", **replaced)
    with pytest.raises(DataError, match=message) as refused:
        MedMNIST().load(tmp_path)
    assert "breastmnist.npz" in str(refused.value)


def test_a_file_of_another_hash(tmp_path):
    (tmp_path / "medmnist").mkdir()
    (tmp_path / "medmnist" / "breastmnist_64.npz").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"breastmnist_64\.npz is damaged: .* expected 742edef2a1fd1524b2efff4bd7ba9364"
    ):
        MedMNIST(size=64).load(tmp_path)


def test_real_breastmnist(real_dir, check_types):
    source = MedMNIST().load(real_dir)
    check_types(source, 2)
    assert source.class_names == ("malignant", "normal, benign")
    counts = [np.bincount(c).tolist() for c in (source.train_clean, source.val_clean, source.test_clean)]
    assert counts == [[147, 399], [21, 57], [42, 114]]
    with np.load(real_dir / "medmnist" / "breastmnist.npz") as content:
        np.testing.assert_array_equal(source.val_input[:, 0], content["val_images"])
        np.testing.assert_array_equal(source.test_clean, content["test_labels"][:, 0])
