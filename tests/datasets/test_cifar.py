"""CIFAR-10 and CIFAR-100: small files as Python 2 pickled the official ones, and the real files where they are."""

import os
import pickle
import struct
import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from torchvision import datasets

from lilawbench.config import bind, build
from lilawbench.datasets import cifar
from lilawbench.datasets.cifar import CIFAR10, CIFAR100
from lilawbench.noise import human
from lilawbench.support.errors import DataError
from lilawbench.train import run


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 and the NumPy of 2009 did: strings of bytes, `align` of a dtype as 0."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), (3, value.str[0], None, None, None, -1, -1, 0)
        if isinstance(value, np.ndarray):
            state = (1, value.shape, value.dtype, False, value.tobytes())
            return np.array(0).__reduce__()[0], (np.ndarray, (0,), b"b"), state
        return NotImplemented


def write(path, content):
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


@pytest.fixture
def official(monkeypatch, md5):
    """official("CIFAR10", folder): the hashes, torchvision's too, become those of the files there."""

    def make(name, folder):
        ours, theirs = getattr(cifar, name), getattr(datasets, name)
        for files in ("train_files", "test_files", "names_file"):
            monkeypatch.setattr(ours, files, {file: md5(folder / file) for file in getattr(ours, files)})
        monkeypatch.setattr(ours, "url", f"http://127.0.0.1:1/{theirs.filename}")
        for files in ("train_list", "test_list"):
            hashes = [[file, md5(folder / file)] for file, _ in getattr(theirs, files)]
            monkeypatch.setattr(theirs, files, hashes)
        monkeypatch.setattr(theirs, "meta", theirs.meta | {"md5": md5(folder / theirs.meta["filename"])})

    return make


@pytest.mark.parametrize("ours", [CIFAR10, CIFAR100])
def test_names_addresses_and_hashes_are_torchvisions(ours):
    theirs = getattr(datasets, ours.__name__)
    assert (ours.folder, ours.url) == (theirs.base_folder, theirs.url)
    assert list(ours.train_files.items()) == [*map(tuple, theirs.train_list)]
    assert list(ours.test_files.items()) == [*map(tuple, theirs.test_list)]
    assert ours.names_file == {theirs.meta["filename"]: theirs.meta["md5"]} and ours.names_key == theirs.meta["key"]


@pytest.fixture
def tiny_cifar(tmp_path, official):
    """tiny_cifar("CIFAR10"): five batches of 20 training images and 10 test images below tmp_path."""

    def make(name):
        ten = name == "CIFAR10"
        folder = tmp_path / ("cifar-10-batches-py" if ten else "cifar-100-python")
        folder.mkdir()
        random, num_classes = np.random.default_rng(0), 10 if ten else 100
        files = (
            {f"data_batch_{i}": 20 for i in range(1, 6)} | {"test_batch": 10} if ten else {"train": 200, "test": 100}
        )
        for file, count in files.items():
            labels = [i % num_classes for i in range(count)]
            pixels = random.integers(0, 256, (count, 3072)).astype(np.uint8)
            keys = {"labels": labels} if ten else {"fine_labels": labels, "coarse_labels": [0] * count}
            write(folder / file, {"batch_label": file, "data": pixels, "filenames": ["a.png"] * count} | keys)
        names = [f"class {i}" for i in range(num_classes)]
        meta = {"label_names": names, "num_vis": 3072} if ten else {"fine_label_names": names, "coarse_label_names": []}
        write(folder / ("batches.meta" if ten else "meta"), meta)
        official(name, folder)
        return folder

    return make


@pytest.mark.parametrize("name, dataset, train", [("CIFAR10", CIFAR10, 100), ("CIFAR100", CIFAR100, 200)])
def test_cifar_is_what_torchvision_reads(name, dataset, train, tiny_cifar, tmp_path, check_types):
    tiny_cifar(name)
    source = dataset().load(tmp_path)
    num_classes = dataset.num_classes
    check_types(source, num_classes)
    assert source.train_input.shape == (train, 3, 32, 32) and source.test_input.shape[0] == num_classes
    assert source.class_names[3] == "class 3"
    with warnings.catch_warnings(action="ignore", category=np.exceptions.VisibleDeprecationWarning):  # as in cifar.py
        theirs = [getattr(datasets, name)(tmp_path, train=train) for train in (True, False)]
    for (inputs, clean), them in zip(
        [(source.train_input, source.train_clean), (source.test_input, source.test_clean)], theirs, strict=True
    ):
        np.testing.assert_array_equal(inputs.permute(0, 2, 3, 1), them.data)
        assert clean.tolist() == them.targets
    assert dataset(pixels="unit").load(tmp_path).std == (1, 1, 1)


def test_a_pickle_is_not_read_before_its_hash_is_right(tiny_cifar, tmp_path):
    """Reading this one makes a folder."""

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    folder = tiny_cifar("CIFAR10")
    (folder / "data_batch_3").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(DataError, match=r"cifar-10-batches-py/data_batch_3 is damaged: its md5 is .* expected"):
        CIFAR10().load(tmp_path)
    assert not (tmp_path / "harm").exists()
    pickle.loads((folder / "data_batch_3").read_bytes())
    assert (tmp_path / "harm").exists()


def test_a_missing_file_is_named_with_its_hash(tiny_cifar, tmp_path, md5):
    folder = tiny_cifar("CIFAR100")
    expected = md5(folder / "test")
    (folder / "test").unlink()
    with pytest.raises(DataError, match=rf"cifar-100-python/test is not on disk(.|\n)*md5 {expected}"):
        CIFAR100().load(tmp_path)


PIXELS, LABELS = np.zeros((10, 3072), np.uint8), list(range(10))


@pytest.mark.parametrize(
    "content, message",
    [
        ({"data": PIXELS[:, :3000], "labels": LABELS}, r"found uint8 \[10, 3000\] and 10 labels from 0 to 9"),
        ({"data": PIXELS[:9], "labels": LABELS}, r"found uint8 \[9, 3072\] and 10 labels"),
        ({"data": PIXELS.astype(np.float32), "labels": LABELS}, r"found float32 \[10, 3072\]"),
        ({"data": PIXELS, "labels": [10, *LABELS[1:]]}, "labels from 0 to 9, found .* 10 labels from 1 to 10"),
        ({"data": PIXELS}, r"found uint8 \[10, 3072\] and no labels"),
        ({"labels": LABELS}, r"found object \[\] and 10 labels"),
    ],
    ids=["short rows", "too few", "floats", "label 10", "no labels", "no pixels"],
)
def test_a_batch_of_the_wrong_shape(content, message, tiny_cifar, official, tmp_path):
    folder = tiny_cifar("CIFAR10")
    write(folder / "data_batch_2", content)
    official("CIFAR10", folder)
    with pytest.raises(DataError, match=message):
        CIFAR10().load(tmp_path)


def test_class_names_must_be_as_many_as_classes(tiny_cifar, official, tmp_path):
    folder = tiny_cifar("CIFAR10")
    write(folder / "batches.meta", {"label_names": ["airplane"]})
    official("CIFAR10", folder)
    with pytest.raises(DataError, match="batches.meta: 1 class names, expected 10"):
        CIFAR10().load(tmp_path)


@pytest.mark.parametrize("noise", ["none", "symmetric", "asymmetric", "dirichlet", "kernel", "class_frequency"])
def test_the_long_tailed_preset_composes_with_a_noise(noise, composed, tiny_cifar, tmp_path):
    """Ten of each class become 10 * 8^(-i/9) rounded down; a class of two keeps its labels' range."""
    tiny_cifar("CIFAR10")
    cfg = composed("dataset=cifar10_lt", "dataset.imbalance=8", f"noise={noise}")
    source = build(cfg.dataset).source(tmp_path, np.random.default_rng(0))
    assert np.bincount(source.train_clean).tolist() == [10, 7, 6, 5, 3, 3, 2, 1, 1, 1]
    assert np.bincount(source.test_clean).tolist() == [1] * 10
    observed = bind(cfg.noise)(source.train_clean, 10, generator=np.random.default_rng(0))
    assert len(observed) == 39 and set(observed) <= set(range(10))
    assert (observed == source.train_clean).all() == (noise == "none")


@pytest.mark.parametrize("preset, num_val", [pytest.param("cifar10_m", 15, marks=pytest.mark.slow), ("cifar10_lt", 0)])
def test_a_preset_end_to_end(preset, num_val, composed, tiny_cifar, tmp_path):
    """Of 100 rows 15 validate; of the tail's 39 none."""
    tiny_cifar("CIFAR10")
    cfg = composed(
        f"dataset={preset}", f"paths.data_dir={tmp_path}", "model=cnn", "model.channels=[4,4,4]", "train.epochs=1",
        "train.batch_size=32", *(["dataset.imbalance=8"] if preset == "cifar10_lt" else ["method=lilaw"]),
    )  # fmt: skip
    result = run(cfg).result
    assert result["run"].startswith(f"{preset}-symmetric0.4-cnn-")
    assert (result["num_train"], result["num_val"]) == ((39 if preset == "cifar10_lt" else 100) - num_val, num_val)
    assert result["num_test"] == 10 and 0 <= result["last.test_accuracy"] <= 1


def test_human_labels_end_to_end(composed, tiny_cifar, tmp_path, md5, monkeypatch):
    """Labels in the layout of CIFAR-10N for the 100 tiny images: every tenth one says the next class."""
    tiny_cifar("CIFAR10")
    path = tmp_path / "cifar-n" / "CIFAR-10_human.pt"
    path.parent.mkdir()
    clean = np.arange(100) % 20 % 10
    worst = np.where(np.arange(100) % 10 == 0, (clean + 1) % 10, clean)
    torch.save({"clean_label": clean, "worse_label": worst}, path)
    monkeypatch.setattr(human, "FILES", (human.FILES[0]._replace(md5=md5(path)),))
    cfg = composed(
        "dataset=cifar10n", "noise.labels=worst", f"paths.data_dir={tmp_path}", "model=cnn", "model.channels=[4,4,4]",
        "train.epochs=1", "train.batch_size=32", "method=lilaw",
    )  # fmt: skip
    record = run(cfg)
    assert (record.result["noise.realised_rate"], record.result["noise.requested_rate"]) == (0.1, None)
    assert (record.result["num_train"], record.result["num_val"]) == (85, 15)
    with np.load(record.folder / "labels.npz") as labels:
        np.testing.assert_array_equal(labels["observed"], worst)


@pytest.mark.parametrize(
    "dataset, folder, first_labels",
    [(CIFAR10(), "cifar-10-batches-py", [6, 9, 9, 4, 1]), (CIFAR100(), "cifar-100-python", [19, 29, 0, 11, 1])],
)
def test_real_cifar(dataset, folder, first_labels, real, real_dir, check_types):
    if not (real_dir / folder).exists():
        pytest.skip(f"no {folder} among the real data")
    source = real(dataset)
    check_types(source, dataset.num_classes)
    assert source.train_clean[:5].tolist() == first_labels
    assert (np.bincount(source.train_clean) == 50_000 // dataset.num_classes).all()
    assert (np.bincount(source.test_clean) == 10_000 // dataset.num_classes).all()
    level = torch.arange(256).double() / 255
    for channel, (mean, std) in enumerate(zip(source.mean, source.std, strict=True)):
        count = torch.bincount(source.train_input[:, channel].flatten(), minlength=256).double()
        average = (level * count).sum() / count.sum()
        assert mean == pytest.approx(average.item(), abs=1e-4)
        assert std == pytest.approx((((level - average) ** 2 * count).sum() / count.sum()).sqrt().item(), abs=1e-4)
