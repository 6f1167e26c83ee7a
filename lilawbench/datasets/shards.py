"""The user's own images in tar files, as WebDataset packs them: for sets with too many files for a folder."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.file_parts import by_part, files_below, matching
from lilawbench.datasets.given_labels import checked_names, class_numbers, counted
from lilawbench.datasets.own_images import OwnImages
from lilawbench.datasets.own_path import own_path
from lilawbench.datasets.tar_index import Index, Wanted, read_index
from lilawbench.loading.packed import PackedImages
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")

NAMES = "classnames.txt"
NUMBER = re.compile(r"[-+]?[0-9]{1,15}")


class Shards(OwnImages):
    """Tar files of samples: members whose names are equal up to the first dot, such as 0001.jpg and 0001.cls.

    Headers are read once, and their index kept in the cache; an image is then read by its place, in any order. Files
    are train, val or test as their names say (`train-00000.tar`), or as `train`, `val`, `test` say. Rows are in the
    order of the files by name, then of samples within, and are called FILE:NAME. Files are local and not compressed.

    Args:
        path: folder of the tar files, or one tar file; as it is, or below the data folder.
        train, val, test: files of each part, below the folder, such as train-{000..099}.tar or a/*.tar; None: by name.
        image: ending of the member to learn from; None: the one image of a sample.
        label: ending of the member with the class, a number or a name; json.FIELD: a field of the member json.
        class_names: file with a class name a line, number i on line i from 0; as `path`. None: classnames.txt beside
            the tar files, or else the labels tell.
        options: of `OwnImages`.
    """

    def __init__(
        self,
        path: str,
        train: str | None = None,
        val: str | None = None,
        test: str | None = None,
        image: str | None = None,
        label: str = "cls",
        class_names: str | None = None,
        **options: Tree,
    ):
        super().__init__(path, **options)
        if train is None and (val is not None or test is not None):
            raise ValueError("val and test name files; name those that train too, as train")
        if label.startswith("json") and not re.fullmatch(r"json\..+", label):
            raise ValueError(f"label is {label!r}; a field of JSON is json.FIELD")
        holder, _, field = label.partition(".")
        if field and holder != "json":
            raise ValueError(f"label is {label!r}; it is the ending of a member, without dots, or json.FIELD")
        self.patterns = {name: one for name, one in (("train", train), ("val", val), ("test", test)) if one is not None}
        self.wanted = Wanted(image and image.lower().lstrip("."), label if field else label.lower().lstrip("."))
        self.class_names = class_names

    def load(self, data_dir: Path | None) -> Source:
        path = own_path(self.path, data_dir, "dataset.path", "a folder of .tar files, or one of them", "either")
        root = path if path.is_dir() else path.parent
        files = self._files(root, path)
        every = [file for part in files.values() for file in part]
        if len(set(every)) < len(every):
            twice = next(file for file in every if every.count(file) > 1)
            raise DataError(f"{twice} is in two parts: dataset.train, dataset.val and dataset.test must differ")
        index = read_index(every, self.wanted)
        label, names, starts = self._labels(index, files, root, data_dir)
        rows = self.with_test(dict(zip(files, np.split(label, starts))), names, str(root))
        drawn = "" if "test" in files else ", drawn"
        log.info(
            "%s: %d tar files, %s%s; %d classes: %s", root, len(every),
            ", ".join(f"{len(of):,} {part}" for part, of in rows.items()), drawn, len(names),
            counted(names, label),
        )  # fmt: skip
        ids = _ids(index, root)
        images = PackedImages(index, np.arange(len(label)), root, ids, **self.frame)
        return self.source_of(images, label, rows, names)

    def _files(self, root: Path, path: Path) -> dict[str, list[Path]]:
        if self.patterns:
            return {part: matching(root, pattern, f"dataset.{part}") for part, pattern in self.patterns.items()}
        if path != root:
            return {"train": [path]}
        if files := files_below(root, (".tar",)):
            return by_part(root, files)
        packed = files_below(root, (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))
        hint = f"; {packed[0].name} is compressed, so that no image can be read alone: unpack it" if packed else ""
        raise DataError(f"{root} has no .tar file{hint}")

    def _labels(
        self, index: Index, files: dict[str, list[Path]], root: Path, data_dir: Path | None
    ) -> tuple[np.ndarray, tuple[str, ...], list[int]]:
        """Classes [N] int64 of all samples, the class names, and the first row of each part but the first."""
        distinct, inverse = np.unique(index.label, return_inverse=True)
        are_numbers = [NUMBER.fullmatch(text) is not None for text in distinct.tolist()]
        if any(are_numbers) and not all(are_numbers):
            rows = [np.flatnonzero(inverse == are_numbers.index(kind))[0] for kind in (True, False)]
            one, other = (f"{index.label[row]!s} ({self._called(index, row)})" for row in rows)
            raise DataError(f"{root}: labels are numbers and text, such as {one} and {other}; write all of them alike")
        label = (distinct.astype(np.int64) if all(are_numbers) else distinct)[inverse]
        numbers = np.cumsum([len(part) for part in files.values()])[:-1]
        starts = np.searchsorted(index.tar, numbers).tolist()
        given = dict(zip(files, np.split(label, starts)))
        test = {part: given.pop(part) for part in ("test",) if part in given}
        found, names = class_numbers(given, test, self._names(root, data_dir), root)
        return np.concatenate([found[part] for part in files]), names, starts

    def _called(self, index: Index, row: int) -> str:
        return f"{index.files[index.tar[row]].name}:{index.key[row].decode(errors='replace')}"

    def _names(self, root: Path, data_dir: Path | None) -> list[str] | None:
        if self.class_names is not None:
            path = own_path(self.class_names, data_dir, "dataset.class_names", "a file with a name a line")
        elif not (path := root / NAMES).is_file():
            return None
        try:
            lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
        return checked_names(np.array([line.strip() for line in lines], dtype=str), path)


def _ids(index: Index, root: Path) -> np.ndarray:
    """FILE:NAME of each sample, [N] bytes, the file's path being relative to the folder."""
    files = np.array([str(file.relative_to(root)).encode() + b":" for file in index.files])
    return np.char.add(files[index.tar], index.key)
