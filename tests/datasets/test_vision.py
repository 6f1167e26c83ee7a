"""MNIST and Fashion-MNIST: the real files, and tiny ones in the official layout."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from lilawbench.datasets.vision import MNIST, FashionMNIST
from lilawbench.support.errors import DataError


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


@pytest.mark.parametrize("ours", [MNIST, FashionMNIST])
def test_names_addresses_and_hashes_are_torchvisions(ours):
    theirs = getattr(datasets, ours.name)
    assert list(ours.files.items()) == theirs.resources and list(ours.mirrors) == theirs.mirrors


@pytest.fixture
def make_official(monkeypatch, md5):
    """make_official(folder): the official hashes become those of the files there."""

    def make(folder: Path):
        names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
        files = [(name, md5(folder / name)) for name in names]
        monkeypatch.setattr("lilawbench.datasets.vision.MNIST.files", dict(files))

    return make


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch, make_official):
    """Thirty training and ten test images in a folder that the official hashes are made to fit."""
    random = np.random.default_rng(0)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in [("train", 30), ("t10k", 10)]:
        images = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, values in [("images-idx3", images), ("labels-idx1", labels)]:
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    make_official(folder)
    monkeypatch.setattr("lilawbench.datasets.vision.MNIST.mirrors", ("http://127.0.0.1:1/",))
    return folder


def test_mnist_reads_gz_without_unpacking_on_disk(tiny_mnist, tmp_path, check_types):
    before = sorted(tmp_path.rglob("*"))
    source = MNIST().load(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    check_types(source, 10)
    assert source.train_input.shape == (30, 1, 28, 28)
    assert source.test_clean.tolist() == list(range(10))
    assert source.class_names[3] == "3"
    content = gzip.decompress((tiny_mnist / "train-images-idx3-ubyte.gz").read_bytes())
    assert source.train_input.numpy().tobytes() == content[16:]


def test_mnist_accepts_the_unpacked_files(tiny_mnist, tmp_path):
    packed = MNIST().load(tmp_path)
    for path in list(tiny_mnist.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = MNIST().load(tmp_path)
    assert torch.equal(packed.train_input, unpacked.train_input)
    np.testing.assert_array_equal(packed.test_clean, unpacked.test_clean)


def test_mnist_damaged_file(tiny_mnist, tmp_path):
    path = tiny_mnist / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        MNIST().load(tmp_path)


def test_mnist_missing_file(tiny_mnist, tmp_path):
    (tiny_mnist / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"MNIST/raw/train-labels-idx1-ubyte\.gz is not on disk"):
        MNIST().load(tmp_path)


LABELS = idx(np.arange(10, dtype=np.uint8))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"<html>", "not an idx file of bytes: it starts with 3c 68 74 6d"),
        (b"", "not an idx file of bytes: it starts with nothing"),
        (b"\0\0\x0d\x01" + LABELS[4:], "not an idx file of bytes: it starts with 00 00 0d 01"),
        (LABELS[:6], "not an idx file of bytes"),
        (LABELS[:-1], r"cut short or too long: 9 values where its header says \[10\]"),
        (LABELS + b"\0", r"cut short or too long: 11 values"),
        (idx(np.arange(9, dtype=np.uint8)), r"do not fit together: images \[10, 28, 28\], labels \[9\]"),
        (idx(np.arange(1, 11, dtype=np.uint8)), "up to 10; expected .* up to 9"),
    ],
    ids=["html", "empty", "floats", "half a header", "short", "long", "too few", "label 10"],
)
def test_mnist_file_that_is_not_what_it_should_be(content, message, tiny_mnist, tmp_path, make_official):
    (tiny_mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    make_official(tiny_mnist)
    with pytest.raises(DataError, match=message):
        MNIST().load(tmp_path)


def test_mnist_unpacked_file_under_a_gz_name(tiny_mnist, tmp_path, make_official):
    (tiny_mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(LABELS)
    make_official(tiny_mnist)
    with pytest.raises(DataError, match="cannot be read: Not a gzipped file"):
        MNIST().load(tmp_path)


@pytest.mark.parametrize(
    "dataset, first_labels, test_counts",
    [
        (MNIST(), [5, 0, 4, 1, 9], [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        pytest.param(FashionMNIST(), [9, 0, 0, 3, 0], [1000] * 10, marks=pytest.mark.slow),
    ],
    ids=["mnist", "fashion_mnist"],
)
def test_real_images(dataset, first_labels, test_counts, real, check_types):
    source = real(dataset)
    check_types(source, 10)
    assert source.train_input.shape == (60_000, 1, 28, 28)
    assert source.test_input.shape == (10_000, 1, 28, 28)
    assert source.train_clean[:5].tolist() == first_labels
    assert np.bincount(source.test_clean).tolist() == test_counts
    # the published mean and std are those of the training pixels, to four decimals
    level, count = torch.arange(256).double() / 255, torch.bincount(source.train_input.flatten()).double()
    mean = (level * count).sum() / count.sum()
    std = (((level - mean) ** 2 * count).sum() / count.sum()).sqrt()
    assert source.mean == pytest.approx((mean.item(),), abs=1e-4)
    assert source.std == pytest.approx((std.item(),), abs=1e-4)


def test_real_mnist_pixels(real):
    """The first image is the well-known five; its first ink is row 5, column 12."""
    five = real(MNIST()).train_input[0, 0]
    assert five.nonzero()[0].tolist() == [5, 12]
    assert five[5, 12:16].tolist() == [3, 18, 18, 18]
    assert five.sum() == 27525
