"""Which part of a data set each of its files holds: train, val or test, as its name or its folder's says."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from lilawbench.datasets.folder_names import PARTS, is_hidden, part_of
from lilawbench.support.errors import DataError
from lilawbench.support.natural import natural

BRACE = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<names>[^{}]+))\}")
TOKEN = re.compile(r"[^\W\d_]+")


def files_below(root: Path, endings: Sequence[str]) -> list[Path]:
    """Files of these endings in a folder and those below it, in natural order of their paths; hidden ones left out."""
    found = []
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = [name for name in folders if not is_hidden(os.fsencode(name))]
        for name in files:
            if name.lower().endswith(tuple(endings)) and not is_hidden(os.fsencode(name)):
                found.append(Path(folder, name))
    return sorted(found, key=lambda path: natural(str(path.relative_to(root))))


def by_part(root: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files of train and, if there are such, val and test. Where no name says a part, all files train.

    A file's part is a word of its name (`train-00000.tar`, `imagenet-validation-07.tar`), else its folder's name. All
    parts must lie side by side: two data sets in one folder are not joined.

    Raises:
        DataError: only some names say a part, or one says two; no file trains; parts of several folders.
    """
    told = {file: _told(root, file) for file in files}
    parts = {part: [file for file, (of, _) in told.items() if of == part] for part in PARTS}
    rest = [file for file, (of, _) in told.items() if of is None]
    if len(rest) == len(files):
        return {"train": list(files)}
    if rest:
        named = next(file for file in files if file not in rest)
        raise DataError(
            f"{root}: {named.relative_to(root)} says which part it is, {rest[0].relative_to(root)} does not "
            f"({len(rest)} such files); name all of them by train, val or test, or none"
        )
    places = sorted({place for _, place in told.values()})
    if len(places) > 1:
        raise DataError(
            f"{root} has parts in several folders: {', '.join(map(str, places[:5]))}; name one of them as dataset.path"
        )
    if not parts["train"]:
        raise DataError(f"{root} has files to validate or test, {files[0].name} among them, and none to train")
    return {part: found for part, found in parts.items() if found}


def matching(root: Path, pattern: str, option: str) -> list[Path]:
    """Files below a folder that a pattern names: * and ?, and {000..099} or {a,b} for names that must all be there.

    Raises:
        DataError: a file is missing, or none matches; with `option`, which gave the pattern.
    """
    found: list[Path] = []
    for name in _expanded(pattern):
        files = [path for path in root.glob(name) if path.is_file()] if not name.startswith("/") and name else []
        if not files:
            raise DataError(f"{option}={pattern}: {root} has no file {name}; patterns are relative to dataset.path")
        found += sorted(files, key=lambda path: natural(str(path)))
    return list(dict.fromkeys(found))


def _expanded(pattern: str) -> list[str]:
    """The names that the braces of a pattern stand for, in order."""
    brace = BRACE.search(pattern)
    if brace is None:
        return [pattern]
    if brace["first"]:
        width = len(brace["first"]) if brace["first"].startswith("0") else 0
        inside = [f"{number:0{width}d}" for number in range(int(brace["first"]), int(brace["last"]) + 1)]
    else:
        inside = brace["names"].split(",")
    return [name for one in inside for name in _expanded(pattern[: brace.start()] + one + pattern[brace.end() :])]


def _told(root: Path, file: Path) -> tuple[str | None, Path]:
    """The part that a file's name or the nearest folder's says, and the folder that this name is in."""
    for place in (file, *file.parents):
        if place == root:
            break
        name = place.name.split(".")[0] if place == file else place.name
        said = {part for word in TOKEN.findall(name) if (part := part_of(os.fsencode(word))) in PARTS}
        if len(said) > 1:
            raise DataError(f"{place} may be {' or '.join(sorted(map(str, said)))}; rename it")
        if said:
            return said.pop(), place.parent
    return None, root
