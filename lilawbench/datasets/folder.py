"""The user's own images: a folder for each class, as torchvision's ImageFolder has them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.tree import ImageTree, Listed, read_tree
from lilawbench.loading.image_files import ImageFiles, check_frame, file_ids
from lilawbench.loading.split import class_rows, stratified_test
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("lilawbench")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOST_CLASSES = 12  # named in a line
USE = {"train": "to train", "val": "to validate", "test": "to test"}


class Folder(Dataset):
    """path/train/CLASS/*.jpg, path/test/CLASS/*.jpg and, if there is one, path/val/CLASS/*.jpg; or path/CLASS/*.jpg.

    Without a test folder a part of the training images is set aside to test on; the images of a val folder are the
    validation rows, whatever split.val_fraction says. The class folders, in natural order, are the classes; images may
    lie deeper in them. What was found, and what was left out, is logged. Which labels are right is unknown: what needs
    clean labels is left out of the record, unless noise is added to them. Images of up to `resident_gb` in all are
    decoded once and stay in memory as uint8; more are decoded batch by batch.

    Args:
        path: the folder; as it is, or below the data folder.
        size: side of the square that the network sees, pixels. resize: shorter side before the cut to the centre
            square, >= size; None: size.
        channels: 3 (colour) | 1 (grey).
        white: the value > 0 that becomes 255 in images of 16 or more bits and of floats; None: what fits a sample of
            the images, see `pixels.levels_of`.
        background: the grey level, 0..255, behind transparent pixels; None: 255, or 0 if what is drawn is nearly white.
        test_fraction: without a test folder, the part to test on, in (0, 1). split_seed: of its draw.
        resident_gb: GiB of decoded images to hold in memory; 0: none.
        threads: number of decoding threads; None: one per core, at most 8.
        imbalance, per_class: as every `Dataset`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: no such tree, an image that cannot be read.
    """

    num_classes: int | None = None
    official_val: bool | None = None
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
        white: float | None = None,
        background: int | None = None,
    ):
        super().__init__(None, imbalance, per_class)
        check_frame(size, resize, channels, threads)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
        if not resident_gb >= 0:
            raise ValueError(f"resident_gb is {resident_gb}; it must be >= 0")
        if white is not None and not 0 < white < float("inf"):
            raise ValueError(f"white is {white}; it must be null or a number > 0")
        if background is not None and not (isinstance(background, int) and 0 <= background <= 255):
            raise ValueError(f"background is {background}; it must be null or a grey level, 0 to 255")
        self.path, self.test_fraction, self.split_seed = Path(path), test_fraction, split_seed
        self.size, self.resize, self.channels, self.threads = size, resize, channels, threads
        self.white, self.background = white, background
        self.resident_bytes = resident_gb * 2**30

    def load(self, data_dir: Path | None) -> Source:
        root = self._root(data_dir)
        tree = read_tree(root)
        parts = self._with_test(root, tree)
        log.info("%s", described(root, tree, parts))
        first = np.cumsum([len(part.label) for part in parts.values()])[:-1]
        names = np.concatenate([part.names for part in parts.values()])
        images = ImageFiles(root, names, self.size, self.resize, self.channels, self.threads)
        images.level(self.white, self.background)
        inputs: Sequence[torch.Tensor | ImageFiles]
        if len(names) * np.prod(images.shape[1:]) <= self.resident_bytes:
            inputs = images.load().tensor_split(first.tolist())
            mean, std = channel_statistics(inputs[0])
        else:
            images[images.sample()].load()  # what is wrong with all of them is found before training, not within
            inputs = [images[rows] for rows in np.split(np.arange(len(names)), first)]
            mean, std = (IMAGENET_MEAN, IMAGENET_STD) if self.channels == 3 else ((0.5,), (0.25,))
        input = dict(zip(parts, inputs, strict=True))
        ids = {name: file_ids(part.names) for name, part in parts.items()}
        return Source(
            input["train"],
            parts["train"].label,
            input["test"],
            parts["test"].label,
            tuple(tree.class_names),
            mean,
            std,
            val_input=input.get("val"),
            val_clean=parts["val"].label if "val" in parts else None,
            train_ids=ids["train"],
            val_ids=ids.get("val"),
            test_ids=ids["test"],
        )

    def _with_test(self, root: Path, tree: ImageTree) -> dict[str, Listed]:
        """The parts in order, none of them empty; test rows are drawn from the training rows where there is none."""
        parts, left_out = dict(tree.parts), f" (left out: {tree.left_out})" if tree.left_out else ""
        for part, listed in parts.items():
            if not len(listed.label):
                raise DataError(f"{root / tree.folders[part]} has no image{left_out}; fill or remove the folder")
        train, where = parts["train"], str(root / tree.folders["train"]) + left_out
        if "test" in parts:
            class_rows(train.label, tree.class_names, 1, where)
        else:
            rows, tested = stratified_test(train.label, tree.class_names, self.test_fraction, self.split_seed, where)
            parts["train"], parts["test"] = (Listed(train.names[part], train.label[part]) for part in (rows, tested))
        return parts

    def _root(self, data_dir: Path | None) -> Path:
        for root in (self.path, *([] if data_dir is None else [Path(data_dir) / self.path])):
            if root.is_dir():
                return root
        raise DataError(f"there is no folder {self.path} (dataset.path is taken as it is, then below paths.data_dir)")


def described(root: Path, tree: ImageTree, parts: dict[str, Listed]) -> str:
    """One line of what was found: images of each part and class, and what was left out."""
    used = [f"{len(listed.label)} {USE[part]} ({_whence(tree, part)})" for part, listed in parts.items()]
    counts = np.bincount(np.concatenate([listed.label for listed in parts.values()]))
    classes = [f"{name} {count}" for name, count in zip(tree.class_names, counts.tolist(), strict=True)]
    if len(classes) > MOST_CLASSES:
        classes = [*classes[: MOST_CLASSES // 2], "...", *classes[-MOST_CLASSES // 2 :]]
    found = f"{root}: {counts.sum()} images, {', '.join(used)}; {len(counts)} classes: {', '.join(classes)}"
    return f"{found}; left out: {tree.left_out}" if tree.left_out else found


def _whence(tree: ImageTree, part: str) -> str:
    return tree.folders.get(part, "drawn, as there is no test folder") or "the rest"


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
