"""Data sets of images that lists name: the lists read and checked, a million lines in seconds, no object per line."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.folder import IMAGENET_MEAN, IMAGENET_STD
from lilawbench.loading.download import at_hand
from lilawbench.loading.image_files import ImageFiles, check_frame, first_named
from lilawbench.support.errors import DataError

CHUNK = 100_000  # lines that are split at the same time
NUMBER = re.compile(rb"-?[0-9]+")


class Listed(NamedTuple):
    """Images of one part of a data set."""

    names: np.ndarray  # [N] numpy bytes, paths below the data set's folder
    label: np.ndarray  # [N] int64


class ListedImages(Dataset):
    """A data set in the files and folders of its authors, put in place by hand and streamed from disk.

    Images are scaled so that the shorter side is `resize`, then cut to the centre `size`; train.augment.crop_px moves
    that window in training. They are normalised by ImageNet's mean and std.

    Args:
        path: the data set's folder, as it is or below the data folder; None: `folder` below the data folder.
        size, resize, threads: see `ImageFiles`.
        classes, imbalance, per_class: as every `Dataset`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: a list or an image that it names is not there.
    """

    folder: ClassVar[str]  # the official name
    site: ClassVar[str]  # where its files are to be had
    files: ClassVar[tuple[str, ...]]  # lists and folders that it needs, below its folder
    by_hand = True

    def __init__(
        self,
        path: str | None = None,
        size: int = 224,
        resize: int | None = 256,
        threads: int | None = None,
        classes: Sequence[int] | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        super().__init__(classes, imbalance, per_class)
        check_frame(size, resize, threads=threads)
        self.path = None if path is None else Path(path)
        self.frame = {"size": size, "resize": resize, "threads": threads}

    def read(self, root: Path) -> tuple[Listed, Listed, dict]:
        """Training part, test part, and further fields of the `Source`; an official validation part as "val"."""
        raise NotImplementedError

    def load(self, data_dir: Path | None) -> Source:
        root = self._root(data_dir)
        if missing := [file for file in self.files if not (root / file).exists()]:
            raise DataError(
                f"{root} lacks {', '.join(missing)}. {type(self).__name__} is put there by hand, from {self.site}; it "
                f"wants {', '.join(self.files)}"
            )
        at_hand(root)
        train, test, more = self.read(root)
        val = more.pop("val", None)
        self._check(root, [train, test] if val is None else [train, val, test])
        if val is not None:
            more |= {"val_input": ImageFiles(root, val.names, **self.frame), "val_clean": val.label}
        names = tuple(more.pop("class_names", map(str, range(type(self).num_classes))))
        return Source(
            ImageFiles(root, train.names, **self.frame),
            train.label,
            ImageFiles(root, test.names, **self.frame),
            test.label,
            names,
            IMAGENET_MEAN,
            IMAGENET_STD,
            **more,
        )

    def _check(self, root: Path, parts: list[Listed]) -> None:
        """Raises: DataError naming the images of all parts that are not there, or a label outside the classes."""
        names, labels = (np.concatenate(lists) for lists in zip(*parts, strict=True))
        highest = type(self).num_classes - 1  # of the whole data set, whatever classes are kept
        if len(strange := np.flatnonzero((labels < 0) | (labels > highest))):
            name, label = os.fsdecode(names[strange[0]]), labels[strange[0]]
            raise DataError(f"{root}: {name} has the label {label}, outside 0..{highest} ({len(strange)} such lines)")
        check_present(root, names)

    def _root(self, data_dir: Path | None) -> Path:
        asked = self.path or Path(self.folder)
        tried = [] if self.path is None else [asked]
        tried += [] if data_dir is None else [Path(data_dir) / asked]
        for root in tried:
            if root.is_dir():
                return root
        where = ", ".join(map(str, tried)) or "paths.data_dir and dataset.path are not set"
        raise DataError(
            f"there is no folder of {type(self).__name__} ({where}). Get it from {self.site} and point dataset.path to "
            f"it, or put it below paths.data_dir as {self.folder}; it wants {', '.join(self.files)}"
        )


def read_names(path: Path) -> np.ndarray:
    """The lines of a list, [N] numpy bytes. Raises: DataError, the file cannot be read or is empty."""
    return np.array(_lines(path), dtype=np.bytes_)


def read_labelled(path: Path, headings: int = 0) -> Listed:
    """A list of lines "NAME LABEL", between them blanks or a tab, below some lines of headings.

    Raises:
        DataError: the file cannot be read or is empty, a line of another form, with its number.
    """
    lines = _lines(path)[headings:]
    names, labels = [], []
    for first in range(0, len(lines), CHUNK):
        parts = [line.rsplit(None, 1) for line in lines[first : first + CHUNK]]
        wrong = (i for i, part in enumerate(parts) if len(part) != 2 or not NUMBER.fullmatch(part[1]))
        if (row := next(wrong, None)) is not None:
            raise DataError(f"{path}, line {first + headings + row + 1}: not a name and a whole number")
        names.append(np.array([name for name, _ in parts], dtype=np.bytes_))
        labels.append(np.array([label for _, label in parts], dtype=np.bytes_).astype(np.int64))
    return Listed(np.concatenate(names), np.concatenate(labels))


def labels_of(names: np.ndarray, known: Listed, where: Path) -> np.ndarray:
    """The labels [N] int64 of names in a list of others.

    Raises:
        DataError: names without a label in `where`, counted, the first ten named.
    """
    order = np.argsort(known.names, kind="stable")
    at = np.minimum(np.searchsorted(known.names, names, sorter=order), len(order) - 1)
    found = known.names[order[at]] == names
    if not found.all():
        raise DataError(f"{where} has no label of {int((~found).sum())} images: {first_named(names[~found])}")
    return known.label[order[at]]


def check_present(root: Path, names: np.ndarray) -> None:
    """Looks into each folder once: a million separate questions take minutes on a network disk.

    Raises:
        DataError: files that are not there, counted, the first ten named.
    """
    wanted: dict[bytes, list[int]] = {}
    for row, name in enumerate(names.tolist()):
        wanted.setdefault(name.rpartition(b"/")[0], []).append(row)
    missing = []
    for folder, rows in wanted.items():
        try:
            there = set(os.listdir(os.path.join(os.fsencode(root), folder)))
        except OSError:
            there = set()
        missing += [row for row in rows if names[row].rpartition(b"/")[2] not in there]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} images that the lists name are not in {root}: "
            f"{first_named(names[np.sort(missing)])}; put them there or take them off the lists"
        )


def _lines(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().rstrip().splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not lines:
        raise DataError(f"{path} is empty: it should name an image a line")
    return lines
