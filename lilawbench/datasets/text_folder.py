"""Texts in files: a folder for each class, below folders of the parts or not."""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from lilawbench.datasets.file_parts import files_below
from lilawbench.datasets.folder_names import is_hidden, part_of
from lilawbench.support.errors import DataError, first_of
from lilawbench.support.natural import natural

log = logging.getLogger("lilawbench")
LAYOUT = "CLASS/*.txt, or train/CLASS/*.txt, test/CLASS/*.txt and, if there is one, val/CLASS/*.txt"


class TextTree(NamedTuple):
    """A folder of texts as found."""

    class_names: list[str]  # in natural order
    parts: dict[str, list[tuple[Path, int]]]  # files with the numbers of their classes; train, and val and test


def read_text_tree(root: Path) -> TextTree:
    """Lists the files; what is no .txt is left out and said.

    Raises:
        DataError: fewer than two classes, a class without a text or of one part alone, a part named twice.
    """
    top = _folders(root)
    parts: dict[str, Path] = {}
    for folder in top:
        part = part_of(os.fsencode(folder.name))
        if part is None or not _folders(folder):
            continue
        if part in parts:
            raise DataError(f"{root}: {parts[part].name} and {folder.name} are both named as the {part} part; keep one")
        parts[part] = folder
    if parts and "train" not in parts:
        raise DataError(f"{root} has {first_of([folder.name for folder in parts.values()])} but no train folder; "
                        f"expected {LAYOUT}")  # fmt: skip
    if parts and (others := [folder.name for folder in top if folder not in parts.values()]):
        raise DataError(f"{root}: {first_of(others)} lies beside the parts: a class or a part? Expected {LAYOUT}")
    parts = parts or {"train": root}
    class_names = sorted((folder.name for folder in _folders(parts["train"])), key=natural)
    if len(class_names) < 2:
        raise DataError(
            f"{parts['train']} has {len(class_names)} folder(s) {' '.join(class_names)}; expected at least 2, one for "
            f"each class: {LAYOUT}"
        )
    found: dict[str, list[tuple[Path, int]]] = {}
    for part, folder in parts.items():
        if strange := [below.name for below in _folders(folder) if below.name not in class_names]:
            raise DataError(f"{folder} has the class {strange[0]!r}, which {parts['train']} has not")
        found[part] = [(file, number) for number, name in enumerate(class_names) for file in files_of(folder / name)]
    with_texts = {number for _, number in found["train"]}
    if empty := [name for number, name in enumerate(class_names) if number not in with_texts]:
        raise DataError(f"{parts['train'] / empty[0]} has no .txt file; fill or remove the folder")
    _say_others(root)
    return TextTree(class_names, found)


def files_of(folder: Path) -> list[Path]:
    """The .txt files in a folder and below, in natural order."""
    return files_below(folder, (".txt",)) if folder.is_dir() else []


def read_text(file: Path, encoding: str = "utf-8") -> str:
    """The text of a file. Raises: DataError, it cannot be read, or is in another encoding."""
    try:
        return decoded(file.read_bytes(), str(file), encoding)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def decoded(raw: bytes, where: str, encoding: str = "utf-8") -> str:
    """Bytes as text; a byte order mark is left out. Raises: DataError, another encoding."""
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{where}, line {line}: byte {raw[error.start]:#x} is not {encoding}. Name the file's encoding: "
            "dataset.encoding=cp1252, latin-1, or another that Python knows"
        ) from error


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(os.fsencode(path.name)))
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}") from error


def _say_others(root: Path) -> None:
    """A line of the files that are no texts."""
    every = (file for _, _, files in os.walk(root) for file in files if not is_hidden(os.fsencode(file)))
    others = Counter(Path(file).suffix.lower() or "no ending" for file in every if not file.lower().endswith(".txt"))
    if others:
        log.info("%s: no texts, left out: %s", root, first_of([f"{n} files ({end})" for end, n in others.items()]))
