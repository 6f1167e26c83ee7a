"""The user's own images: a folder for each class, as torchvision's ImageFolder has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.loading.image_files import ENDINGS, ImageFiles, check_frame
from lilawbench.loading.split import class_rows, stratified_test
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Folder(Dataset):
    """path/train/CLASS/*.jpg and path/test/CLASS/*.jpg, or path/CLASS/*.jpg with a part set aside to test on.

    The class folders, in alphabetical order, are the classes; images may lie deeper in them. Which labels are right is
    unknown: what needs clean labels is left out of the record, unless noise is added to them. Images of up to
    `resident_gb` in all are decoded once and stay in memory as uint8; more are decoded batch by batch.

    Args:
        path: the folder; as it is, or below the data folder.
        size: side of the square that the network sees, pixels. resize: shorter side before the cut to the centre
            square, >= size; None: size.
        channels: 3 (colour) | 1 (grey).
        test_fraction: without a test folder, the part to test on, in (0, 1). split_seed: of its draw.
        resident_gb: GiB of decoded training and test images to hold in memory; 0: none.
        threads: number of decoding threads; None: one per core, at most 8.
        imbalance, per_class: as every `Dataset`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: no such tree, an image that cannot be read.
    """

    num_classes: int | None = None
    by_hand = True

    def __init__(
        self,
        path: str,
        size: int = 64,
        resize: int | None = None,
        channels: int = 3,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        resident_gb: float = 2.0,
        threads: int | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        super().__init__(None, imbalance, per_class)
        check_frame(size, resize, channels, threads)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
        if not resident_gb >= 0:
            raise ValueError(f"resident_gb is {resident_gb}; it must be >= 0")
        self.path, self.test_fraction, self.split_seed = Path(path), test_fraction, split_seed
        self.size, self.resize, self.channels, self.threads = size, resize, channels, threads
        self.resident_bytes = resident_gb * 2**30

    def load(self, data_dir: Path | None) -> Source:
        root = self._root(data_dir)
        if (root / "train").is_dir() and (root / "test").is_dir():
            names = class_folders(root / "train")
            if strange := sorted(set(class_folders(root / "test", least=1)) - set(names)):
                raise DataError(f"{root / 'test'} has the class {strange[0]!r}, which {root / 'train'} has not")
            (train, train_label), (test, test_label) = (self._list(root / part, names) for part in ("train", "test"))
            class_rows(train_label, names, 1, str(root / "train"))
        else:
            root = root / "train" if (root / "train").is_dir() else root
            names = class_folders(root)
            images, label = self._list(root, names)
            rows, tested = stratified_test(label, names, self.test_fraction, self.split_seed, str(root))
            train, train_label, test, test_label = images[rows], label[rows], images[tested], label[tested]
        if (len(train) + len(test)) * np.prod(train.shape[1:]) <= self.resident_bytes:
            pixels, tested_pixels = train.load(), test.load()
            scale = channel_statistics(pixels)
            return Source(pixels, train_label, tested_pixels, test_label, tuple(names), *scale)
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if self.channels == 3 else ((0.5,), (0.25,))
        return Source(train, train_label, test, test_label, tuple(names), mean, std)

    def _root(self, data_dir: Path | None) -> Path:
        for root in (self.path, *([] if data_dir is None else [Path(data_dir) / self.path])):
            if root.is_dir():
                return root
        raise DataError(f"there is no folder {self.path} (dataset.path is taken as it is, then below paths.data_dir)")

    def _list(self, root: Path, classes: list[str]) -> tuple[ImageFiles, np.ndarray]:
        """The images below the class folders, in order, and their labels."""
        found = [image_names(root, name) for name in classes]
        label = np.repeat(np.arange(len(classes)), [len(names) for names in found])
        names = np.concatenate(found)
        return ImageFiles(root, names, self.size, self.resize, self.channels, self.threads), label


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel of uint8 images [N, C, H, W] on the 0..1 scale; a std is at least 1e-3."""
    import torch

    sums, squares = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for part in images.split(256):  # a float64 copy of all would take eight times the memory
        unit = part.double() / 255
        sums, squares = sums + unit.sum(dim=(0, 2, 3)), squares + unit.square().sum(dim=(0, 2, 3))
    mean = sums / (images.numel() / images.shape[1])
    std = (squares / (images.numel() / images.shape[1]) - mean.square()).clamp(min=1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def class_folders(root: Path, least: int = 2) -> list[str]:
    """The class names: folders in `root`, in order.

    Raises:
        DataError: fewer than `least`.
    """
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < least:
        found = " ".join([f"{len(names)} folder(s)", *names])
        raise DataError(
            f"{root} has {found}; expected one for each class, at least {least}, "
            "with images in them, or train and test with such folders"
        )
    return names


def image_names(root: Path, folder: str) -> np.ndarray:
    """Paths below root of the images in a folder of it and deeper, in order, as numpy bytes."""
    names = []
    for here, folders, files in os.walk(root / folder, followlinks=True):
        folders.sort()
        base = os.path.relpath(here, root)
        names += [os.fsencode(os.path.join(base, file)) for file in sorted(files) if file.lower().endswith(ENDINGS)]
    return np.array(names, dtype=np.bytes_)
