"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels in ten classes.

The files are torchvision's own (names, folders, mirrors, hashes), read into memory without unpacking on disk. The names
are repeated here because importing torchvision takes a second and imports torch.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.loading.download import fetch
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch


class Images(Dataset):
    """A data set of images whose pixels can be scaled in two ways.

    Args:
        pixels: "standard", (pixel - mean) / std; "unit", pixels in [0, 1]; FGSM's eps and clip are then on that
            scale too.
        The others: see `Dataset`.
    Raises:
        ValueError: any of these out of range.
    """

    mean: tuple[float, ...]  # per channel, on the 0..1 scale
    std: tuple[float, ...]

    def __init__(
        self,
        classes: Sequence[int] | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
        pixels: str = "standard",
    ):
        super().__init__(classes, imbalance, per_class)
        if pixels not in ("standard", "unit"):
            raise ValueError(f"pixels is {pixels!r}; it must be standard or unit")
        self.pixels = pixels

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """`mean` and `std` of the Source."""
        if self.pixels == "unit":
            return (0.0,) * len(self.mean), (1.0,) * len(self.std)
        return self.mean, self.std


class IdxImages(Images):
    """A data set of four idx files. A subclass gives the constants; `name` is torchvision's for class and folder.

    `files` has the md5 of train images, train labels, test images, test labels.

    Args: see `Images`.
    """

    name: ClassVar[str]
    files: ClassVar[dict[str, str]]
    mirrors: ClassVar[tuple[str, ...]]
    class_names: ClassVar[tuple[str, ...]]

    def load(self, data_dir: Path | None) -> Source:
        train_images, train_labels, test_images, test_labels = (_read_idx(path) for path in self._files(data_dir))
        return Source(
            *self._checked(train_images, train_labels),
            *self._checked(test_images, test_labels),
            self.class_names,
            *self.scale,
            clean_known=True,
        )

    def _files(self, data_dir: Path | None) -> list[Path]:
        """Train images, train labels, test images, test labels: .gz, or unpacked as torchvision leaves them."""
        paths = []
        for file, md5 in self.files.items():
            name = f"{self.name}/raw/{file}"
            packed = data_dir and Path(data_dir) / name
            if packed and not packed.exists() and packed.with_suffix("").exists():
                paths.append(packed.with_suffix(""))
            else:
                paths.append(fetch(name, [mirror + file for mirror in self.mirrors], md5, data_dir))
        return paths

    def _checked(self, images: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Images [N, 1, 28, 28] uint8 and labels [N] int64."""
        import torch

        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max() >= len(self.class_names):
            raise DataError(
                f"the {self.name} files do not fit together: images {list(images.shape)}, labels {list(labels.shape)} "
                f"up to {labels.max()}; expected [N, 28, 28] and [N] up to {len(self.class_names) - 1}"
            )
        return torch.from_numpy(images).unsqueeze(1), labels.astype(np.int64)


class MNIST(IdxImages):
    """Handwritten digits. Mean and std are the usual ones of the training pixels.

    Source: LeCun et al. 1998.
    """

    num_classes = 10
    name = "MNIST"
    files: ClassVar = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
    class_names = tuple("0123456789")
    mean, std = (0.1307,), (0.3081,)


class FashionMNIST(IdxImages):
    """Articles of clothing, harder than digits. Mean and std are the usual ones of the training pixels.

    Source: Xiao et al. 2017.
    """

    num_classes = 10
    name = "FashionMNIST"
    files: ClassVar = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    class_names = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    mean, std = (0.2860,), (0.3530,)


def _read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an idx file, gzipped or not.

    Layout: the bytes 0, 0, 8 (= uint8), number of axes; each axis' length as big-endian int32; the values.

    Raises:
        DataError: not such a file, or cut short.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = bytearray(file.read())  # not bytes: the array has to be writable for torch
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    header = 4 + 4 * axes
    if axes == 0 or len(content) < header:
        raise DataError(f"{path} is not an idx file of bytes: it starts with {content[:4].hex(' ') or 'nothing'}")
    shape = tuple(np.frombuffer(content, ">i4", count=axes, offset=4).tolist())
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{path} is cut short or too long: {len(content) - header} values where its header says {list(shape)}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
