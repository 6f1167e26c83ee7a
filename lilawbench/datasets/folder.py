"""The user's own images: a folder for each class, as torchvision's ImageFolder has them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.own_images import OwnImages
from lilawbench.datasets.own_path import own_path
from lilawbench.datasets.tree import ImageTree, read_tree
from lilawbench.loading.image_files import ImageFiles
from lilawbench.support.errors import DataError

log = logging.getLogger("lilawbench")

MOST_CLASSES = 12  # named in a line
USE = {"train": "to train", "val": "to validate", "test": "to test"}


class Folder(OwnImages):
    """path/train/CLASS/*.jpg, path/test/CLASS/*.jpg and, if there is one, path/val/CLASS/*.jpg; or path/CLASS/*.jpg.

    The class folders, in natural order, are the classes; images may lie deeper in them. What was found, and what was
    left out, is logged. Options: see `OwnImages`.
    """

    def load(self, data_dir: Path | None) -> Source:
        root = own_path(self.path, data_dir, "dataset.path", "a folder of images", "folder")
        tree = read_tree(root)
        left_out = f" (left out: {tree.left_out})" if tree.left_out else ""
        for part, listed in tree.parts.items():
            if not len(listed.label):
                raise DataError(f"{root / tree.folders[part]} has no image{left_out}; fill or remove the folder")
        labels = {part: listed.label for part, listed in tree.parts.items()}
        rows = self.with_test(labels, tree.class_names, str(root / tree.folders["train"]) + left_out)
        names, label = (np.concatenate(list(part)) for part in zip(*tree.parts.values()))
        log.info("%s", described(root, tree, rows, label))
        images = ImageFiles(root, names, **self.frame)
        return self.source_of(images, label, rows, tree.class_names)


def described(root: Path, tree: ImageTree, rows: Mapping[str, np.ndarray], label: np.ndarray) -> str:
    """One line of what was found: images of each part and class, and what was left out."""
    used = [f"{len(of)} {USE[part]} ({_whence(tree, part)})" for part, of in rows.items()]
    counts = np.bincount(label)
    classes = [f"{name} {count}" for name, count in zip(tree.class_names, counts.tolist(), strict=True)]
    if len(classes) > MOST_CLASSES:
        classes = [*classes[: MOST_CLASSES // 2], "...", *classes[-MOST_CLASSES // 2 :]]
    found = f"{root}: {counts.sum()} images, {', '.join(used)}; {len(counts)} classes: {', '.join(classes)}"
    return f"{found}; left out: {tree.left_out}" if tree.left_out else found


def _whence(tree: ImageTree, part: str) -> str:
    return tree.folders.get(part, "drawn, as there is no test folder") or "the rest"
