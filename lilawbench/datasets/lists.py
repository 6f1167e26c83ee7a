"""Data sets whose images are named in lists: reads and checks a million lines in seconds, with no object per line."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.own_images import IMAGENET_MEAN, IMAGENET_STD
from lilawbench.datasets.tree import Listed
from lilawbench.loading.download import at_hand
from lilawbench.loading.image_files import ImageFiles, check_frame, file_ids, first_named
from lilawbench.support.errors import DataError

CHUNK = 100_000  # lines that are split at once
NUMBER = re.compile(rb"-?[0-9]+")


class Lists(NamedTuple):
    """What the lists of a data set say."""

    train: Listed
    test: Listed
    val: Listed | None = None  # the official validation part
    class_names: Sequence[str] | None = None  # None: the classes' numbers
    clean_known: bool = False  # see `Source`


class ListedImages(Dataset):
    """A data set in the files and folders of its authors, put there by the user and streamed from disk.

    Images are scaled so that the shorter side is `resize`, then cropped to the centre `size`; train.augment.crop_px
    moves that window in training. They are normalised by ImageNet's mean and std.

    Args:
        path: the data set's folder, as it is or below the data folder; None: `folder` below the data folder.
        size, resize, threads: see `ImageFiles`.
        classes, imbalance, per_class: as every `Dataset`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: a list, or an image in it, is missing.
    """

    num_classes: int
    folder: ClassVar[str]  # the official name
    site: ClassVar[str]  # where to get its files
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
        self.size, self.resize, self.threads = size, resize, threads

    def read(self, root: Path) -> Lists:
        """Reads the lists in the data set's folder."""
        raise NotImplementedError

    def load(self, data_dir: Path | None) -> Source:
        root = self._root(data_dir)
        if missing := [file for file in self.files if not (root / file).exists()]:
            raise DataError(
                f"{root} lacks {', '.join(missing)}. Get {type(self).__name__} from {self.site}, and put it there; it "
                f"needs {', '.join(self.files)}"
            )
        at_hand(root)
        train, test, val, names, clean_known = self.read(root)
        self._check(root, [train, test] if val is None else [train, val, test])

        said: set[str] = set()

        def images(part: Listed) -> ImageFiles:
            return ImageFiles(root, part.names, self.size, self.resize, threads=self.threads, said=said)

        return Source(
            images(train),
            train.label,
            images(test),
            test.label,
            tuple(names or map(str, range(type(self).num_classes))),
            IMAGENET_MEAN,
            IMAGENET_STD,
            val_input=None if val is None else images(val),
            val_clean=None if val is None else val.label,
            clean_known=clean_known,
            train_ids=file_ids(train.names),
            val_ids=None if val is None else file_ids(val.names),
            test_ids=file_ids(test.names),
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
        where = ", ".join(str(root.absolute()) for root in tried) or "paths.data_dir and dataset.path are not set"
        raise DataError(
            f"there is no folder of {type(self).__name__} ({where}). Get it from {self.site} and point dataset.path to "
            f"it, or put it below paths.data_dir as {self.folder}; it needs {', '.join(self.files)}"
        )


def read_names(path: Path) -> np.ndarray:
    """The lines of a list, [N] numpy bytes. Raises: DataError, the file cannot be read or is empty."""
    return np.array(_lines(path), dtype=np.bytes_)


def read_labelled(path: Path, headings: int = 0) -> Listed:
    """A list of lines "NAME LABEL", separated by blanks or a tab, below some lines of headings.

    Raises:
        DataError: the file cannot be read or is empty; a line has another form, given with its number.
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
    """The labels [N] int64 of names that a longer list knows.

    Raises:
        DataError: names have no label in `where`; they are counted and the first ten named.
    """
    order = np.argsort(known.names, kind="stable")
    at = np.minimum(np.searchsorted(known.names, names, sorter=order), len(order) - 1)
    found = known.names[order[at]] == names
    if not found.all():
        raise DataError(f"{where} has no label of {int((~found).sum())} images: {first_named(names[~found].tolist())}")
    return known.label[order[at]]


def check_present(root: Path, names: np.ndarray) -> None:
    """Lists each folder once: a million separate look-ups take minutes on a network disk.

    Raises:
        DataError: files are missing; they are counted and the first ten named.
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
            f"{first_named(names[np.sort(missing)].tolist())}; put them there or remove them from the lists"
        )


def _lines(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().rstrip().splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not lines:
        raise DataError(f"{path} is empty: it should name one image per line")
    return lines
