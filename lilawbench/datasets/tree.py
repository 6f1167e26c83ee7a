"""What a folder of images holds: its parts, classes and images, and what is left out of it and why."""

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.datasets.folder_names import IMAGES, OTHERS, PARTS, ending_of, is_hidden, like_a_part, part_of
from lilawbench.loading.image_files import shown
from lilawbench.loading.pixels import is_image
from lilawbench.support.errors import DataError, closest
from lilawbench.support.natural import natural

log = logging.getLogger("lilawbench")

LAYOUT = "train/CLASS, test/CLASS and, if there is one, val/CLASS"
ROOT = b"."
READ = "link(s) to a folder that is read already"


class Listed(NamedTuple):
    """Images of one part of a data set."""

    names: np.ndarray  # [N] numpy bytes, paths below the data set's folder
    label: np.ndarray  # [N] int64


class ImageTree(NamedTuple):
    """A folder of images as found."""

    class_names: list[str]  # in natural order
    parts: dict[str, Listed]  # train, and val and test if they are there
    folders: dict[str, str]  # of the parts; "" where the class folders are not below one
    left_out: str  # what was not read, for a line; "" if nothing


class Listing(NamedTuple):
    """One folder, each kind in order."""

    files: list[bytes]  # images
    folders: list[bytes]
    links: list[bytes]  # to folders


def read_tree(root: Path) -> ImageTree:
    """Lists a million files in seconds: a file is opened only where its ending tells nothing.

    Class folders lie below `root` or below its parts. Hidden files and folders are left out; a folder is read once,
    whatever links lead to it; a name is the same in whichever Unicode form it is written.

    Raises:
        DataError: no such tree; a folder cannot be read; which folders are parts, and which classes, cannot be told.
    """
    return _Reader(root).tree()


class _Reader:
    """Paths are bytes, below the root."""

    def __init__(self, root: Path):
        self.root, self.base = root, os.fsencode(root)
        self.left_out: dict[str, set[bytes]] = {}  # by reason
        self.seen: dict[tuple[int, int], bytes] = {}  # folders that are read, by device and inode
        for folder in [root.resolve(), *root.resolve().parents]:
            self.before(os.fsencode(folder), ROOT)

    def tree(self) -> ImageTree:
        parts = self.parts()
        classes = {part: self.classes(folder) for part, folder in parts.items()}
        names, where = sorted(classes["train"], key=natural), self.at(parts["train"])
        if len(names) < 2:
            found = " ".join([f"{len(names)} folder(s)", *names])
            raise DataError(
                f"{where} has {found}; expected one for each class, at least 2, with images in them, or {LAYOUT}; "
                "dataset.path must be the folder that has them"
            )
        for part, folders_of in classes.items():
            if strange := sorted(set(folders_of) - set(names), key=natural):
                advice = closest(strange[0], names) if len(names) <= 20 else "rename or remove it"
                raise DataError(f"{self.at(parts[part])} has the class {strange[0]!r}, which {where} has not; {advice}")
        same = Counter(map(str.casefold, names))
        if alike := [name for name in names if same[name.casefold()] > 1]:
            log.warning(
                "%s: class folders that differ in case alone are classes of their own: %s", where, ", ".join(alike)
            )
        listed = self.images(classes)
        return ImageTree(
            names,
            {part: _joined(listed[part], names) for part in parts},
            {part: shown(folder) for part, folder in parts.items()},
            self.summary(),
        )

    def parts(self) -> dict[str, bytes]:
        """The folder of each part; for train alone b"" where the class folders are the root's."""
        top = self.list_folder(b"", labelled=False)
        folders = sorted(top.folders + [link for link in top.links if not self.leads_up(link)])
        named = {folder: self.peek(folder) for folder in folders if like_a_part(folder) or part_of(folder)}
        nested = [folder for folder, inside in named.items() if inside.folders or inside.links]
        parts = {part: [folder for folder in nested if part_of(folder) == part] for part in PARTS}
        if not any(parts.values()):
            alone = [folder for folder in named if part_of(folder)]
            # one alone without class folders is a class, such as `train` beside `car`
            if (
                odd := nested
                or (alone if len(alone) > 1 else [])
                or (folders if len(named) == len(folders) > 1 else [])
            ):
                raise DataError(
                    f"{self.root} has {_listed(odd)}, named like parts of a split but not named and laid out as "
                    f"{LAYOUT}; rename the folders, and put images in a folder for each class"
                )
            return {"train": b""}
        for part, same in parts.items():
            if len(same) > 1:
                raise DataError(f"{self.root}: {_listed(same)} are all named as the {part} part; keep one of them")
        if not parts["train"]:
            raise DataError(f"{self.root} has {_listed(nested)} but no train folder; expected {LAYOUT}")
        found = {part: same[0] for part, same in parts.items() if same}
        for folder in folders:
            if folder not in found.values():
                self.leave_empty(folder, _listed(list(found.values())))
        for folder in found.values():
            self.own(folder)
        return found

    def leave_empty(self, folder: bytes, parts: str) -> None:
        """Raises: DataError, a folder beside the parts has images, which could be a class or a part."""
        if (image := self.any_image(folder)) is None:
            return self.leave("folder(s) without images beside the parts", folder)
        if part_of(folder):
            raise DataError(
                f"{self.at(folder)} has images ({shown(image)}) in no class folder: nothing tells their labels; put "
                "them in class folders, or the folder elsewhere"
            )
        raise DataError(
            f"{self.root}: {shown(folder)}, which has images, lies beside {parts}: whether it is a class or a part "
            f"cannot be told; expected {LAYOUT}"
        )

    def classes(self, part: bytes) -> dict[str, list[bytes]]:
        """The folders of each class of a part: several where names differ in their Unicode form alone."""
        found: dict[str, list[bytes]] = {}
        listing = self.list_folder(part, labelled=False) if part else self.peek(part)
        links = [link for link in listing.links if not self.leads_up(_below(part, link))]
        for name in sorted(listing.folders + links):
            self.own(folder := _below(part, name))
            found.setdefault(unicodedata.normalize("NFC", shown(name)), []).append(folder)
        return found

    def images(self, classes: dict[str, dict[str, list[bytes]]]) -> dict[str, dict[str, list[bytes]]]:
        """The images of each class of each part: of all real folders first, then of links to folders not yet read."""
        found: dict[str, dict[str, list[bytes]]] = {part: {} for part in classes}
        links: list[tuple[bytes, list[bytes]]] = []
        for part, folders_of in classes.items():
            for name, folders in folders_of.items():
                into = found[part].setdefault(name, [])
                for folder in folders:
                    links += [(link, into) for link in self.walk(folder, into)]
        for link, into in links:  # which grows
            if not self.leads_back(link):
                links += [(deeper, into) for deeper in self.walk(link, into)]
        return found

    def walk(self, folder: bytes, into: list[bytes]) -> Iterator[bytes]:
        """Adds the images in a folder and deeper; yields the links to folders that it comes by."""
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            listing = self.list_folder(here)
            if here is folder and {"train", "test"} <= {part_of(name) for name in listing.folders}:
                raise DataError(
                    f"{self.at(folder)} has a train and a test folder; the parts must be above the classes: {LAYOUT}"
                )
            into += [_below(here, name) for name in listing.files]
            yield from (_below(here, name) for name in listing.links)
            deeper = [_below(here, name) for name in reversed(listing.folders)]
            waiting += [path for path in deeper if not self.leads_back(path)]

    def list_folder(self, folder: bytes, labelled: bool = True) -> Listing:
        """One folder; notes what is left out of it, which images are, too, where no class folder labels them."""
        files: list[bytes] = []
        folders: list[bytes] = []
        links: list[bytes] = []
        try:
            with os.scandir(os.path.join(self.base, folder)) as entries:
                for entry in entries:
                    name = entry.name
                    if is_hidden(name):
                        self.leave("hidden", _below(folder, name))
                    elif entry.is_symlink() and not os.path.exists(entry.path):
                        self.leave("link(s) to nothing", _below(folder, name))
                    elif entry.is_dir():
                        (links if entry.is_symlink() else folders).append(name)
                    elif (reason := _against(entry)) is None:
                        files.append(name)
                    else:
                        self.leave(reason, _below(folder, name))
        except OSError as error:
            raise DataError(f"{self.at(folder)} cannot be read: {error.strerror}") from error
        if not labelled:
            for name in files:
                self.leave("image(s) in no class folder", _below(folder, name))
        return Listing(sorted(files), sorted(folders), sorted(links))

    def peek(self, folder: bytes) -> Listing:
        """As `list_folder`, and notes nothing."""
        kept, self.left_out = self.left_out, {}
        try:
            return self.list_folder(folder)
        finally:
            self.left_out = kept

    def any_image(self, folder: bytes) -> bytes | None:
        """An image somewhere in a folder. Links are not followed."""
        listing = self.peek(folder)
        if listing.files:
            return _below(folder, listing.files[0])
        deeper = (self.any_image(_below(folder, name)) for name in listing.folders)
        return next((image for image in deeper if image), None)

    def before(self, path: bytes, folder: bytes) -> bytes | None:
        """The folder that was read before and is the same as this one; None: this is the first, and counts as read."""
        try:
            at = os.stat(path)
        except OSError as error:
            raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
        known = self.seen.setdefault((at.st_dev, at.st_ino), folder)
        return None if known is folder else known

    def own(self, folder: bytes) -> None:
        """Counts a part or class as read. Raises: DataError, it is the same folder as another."""
        if (other := self.before(os.path.join(self.base, folder), folder)) is not None:
            raise DataError(f"{self.at(folder)} is the same folder as {self.at(other)}: its images would be read twice")

    def leads_back(self, folder: bytes) -> bool:
        """Whether it is read already, which is noted."""
        if self.before(os.path.join(self.base, folder), folder) is None:
            return False
        self.leave(READ, folder)
        return True

    def leads_up(self, link: bytes) -> bool:
        """Whether a link leads to a folder that it lies in, which is noted."""
        at = os.stat(os.path.join(self.base, link))
        known = self.seen.get((at.st_dev, at.st_ino))
        if known is None or not (known is ROOT or link.startswith(known + b"/")):
            return False
        self.leave(READ, link)
        return True

    def at(self, folder: bytes) -> str:
        return str(self.root) if folder in (b"", ROOT) else shown(os.path.join(self.base, folder))

    def leave(self, reason: str, path: bytes) -> None:
        self.left_out.setdefault(reason, set()).add(path)

    def summary(self) -> str:
        most_first = sorted(self.left_out.items(), key=lambda item: (-len(item[1]), item[0]))
        return ", ".join(
            f"{len(paths)} {reason} ({shown(min(paths))}{' ...' if len(paths) > 1 else ''})"
            for reason, paths in most_first
        )


def _against(entry: os.DirEntry[bytes]) -> str | None:
    """Why a file is not read; None: it is an image, or calls itself one."""
    if not entry.is_file():  # asks the disk about links alone
        return "special file(s)"
    ending = ending_of(entry.name)
    if ending in IMAGES:
        return None
    if ending not in OTHERS and not ending.endswith(b"~") and is_image(os.fsdecode(entry.path)):
        return None
    return f".{shown(ending)} file(s)" if 0 < len(ending) <= 8 else "file(s) of no known kind"


def _below(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _listed(folders: list[bytes]) -> str:
    return ", ".join(map(shown, folders))


def _joined(by_class: dict[str, list[bytes]], names: list[str]) -> Listed:
    """Rows in the order of paths, as other programs sort them, whatever number a class has."""
    number = {name: i for i, name in enumerate(names)}
    found = sorted(by_class.items())
    label = np.repeat([number[name] for name, _ in found], [len(paths) for _, paths in found])
    return Listed(np.array([path for _, paths in found for path in paths], dtype=np.bytes_), label.astype(np.int64))
