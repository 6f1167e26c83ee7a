"""Where the images and labels of tar files lie: headers are read once, after that an image by its offset."""

import contextlib
import hashlib
import json
import logging
import os
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from lilawbench.loading.download import cache_dir
from lilawbench.loading.pixels import ENDINGS, TGA
from lilawbench.support.atomic import replacing
from lilawbench.support.errors import DataError, DiskError

log = logging.getLogger("lilawbench")

IMAGES = frozenset(ending[1:] for ending in ENDINGS if ending not in TGA)  # TGA is known by its ending alone
VERSION = 1  # of what is kept in the cache
COLUMNS = ("tar", "offset", "size", "key", "label")  # of an index
WORTH_SECONDS = 1.0  # what took less to read is not cached
MOST_LABEL_BYTES = 2**20
CUT = "it was cut off or damaged while it was copied: fetch it again"


class Wanted(NamedTuple):
    """Which members of a sample are read, each by its ending: what follows the first dot of the name."""

    image: str | None  # None: the one that is an image
    label: str  # cls, or json.FIELD for a field of the member json


class Index(NamedTuple):
    """Samples of tar files, in the order of the files and, within one, of first members. It is a `Pack` of images."""

    files: list[Path]
    tar: np.ndarray  # [N] int32, which of the files each sample is in
    offset: np.ndarray  # [N] int64, bytes from the start of the file
    size: np.ndarray  # [N] int64, bytes
    key: np.ndarray  # [N] numpy bytes, names of samples within their file
    label: np.ndarray  # [N] str, as written
    stated: bytes  # sizes and times of the files

    def read(self, number: int) -> bytes:
        """As `Pack.read`."""
        path, size = self.files[self.tar[number]], int(self.size[number])
        try:
            with open(path, "rb", buffering=0) as file:
                content = os.pread(file.fileno(), size, int(self.offset[number]))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if len(content) < size:
            raise DataError(f"{path} is shorter than it was: {CUT}")
        return content

    def state(self) -> bytes:
        """As `Pack.state`."""
        return self.stated


def read_index(files: Sequence[Path], wanted: Wanted) -> Index:
    """The index, from the cache where the files have kept size and time.

    Raises:
        DataError: a file is no tar file, is damaged, or has a sample without image or label.
    """
    stats = [(str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    state = json.dumps([VERSION, wanted, stats]).encode()
    kept = cache_dir() / "shards" / f"{hashlib.sha256(state).hexdigest()[:20]}.npz"
    if (known := _kept(kept)) is not None:
        return Index(list(files), **known, stated=state)
    start = time.perf_counter()
    parts = [_read(file, wanted) for file in files]
    tar = np.repeat(np.arange(len(files), dtype=np.int32), [len(part["key"]) for part in parts])
    columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS[1:]}
    index = Index(list(files), tar, **columns, stated=state)
    if (seconds := time.perf_counter() - start) > WORTH_SECONDS:
        log.info("%d tar files were indexed in %.0f s: %d samples", len(files), seconds, len(index.key))
        _keep(kept, index)
    return index


def _kept(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in COLUMNS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or damaged: made anew
        return None


def _keep(path: Path, index: Index) -> None:
    with contextlib.suppress(OSError, DiskError):  # a cache that cannot be written costs time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, tar=index.tar, offset=index.offset, size=index.size, key=index.key, label=index.label)


class _Sample:
    """Members of one key."""

    __slots__ = ("endings", "image", "label")

    def __init__(self) -> None:
        self.endings: list[str] = []
        self.image: tuple[int, int] | None = None  # offset, size
        self.label: str | None = None


def _read(path: Path, wanted: Wanted) -> dict[str, np.ndarray]:
    """The columns of one file's index."""
    samples: dict[str, _Sample] = {}
    holder, _, field = wanted.label.partition(".")
    with open(path, "rb") as content:
        for name, offset, size in _members(path, content):
            folder, _, base = name.rpartition("/")
            stem, _, ending = base.partition(".")
            key, ending = (f"{folder}/{stem}" if folder else stem), ending.lower()
            if base.startswith(".") or stem.startswith("__"):  # what systems leave behind; notes on the file itself
                continue
            sample = samples.setdefault(key, _Sample())
            if ending in sample.endings:
                raise DataError(f"{path} has {name} twice; a sample's name must be its own")
            sample.endings.append(ending)
            if ending == wanted.image or (wanted.image is None and ending.rpartition(".")[2] in IMAGES):
                if sample.image is not None:
                    raise DataError(
                        f"{path}: sample {key} has several images, {', '.join(sample.endings)}; name the ending of the "
                        "one to learn from as dataset.image"
                    )
                sample.image = offset, size
            if ending == holder:
                if size > MOST_LABEL_BYTES:
                    raise DataError(f"{path}: {name} has {size:,} bytes, too many for a label")
                label = os.pread(content.fileno(), size, offset)
                if len(label) < size:
                    raise DataError(f"{path} is no whole tar file (it ends within {name}): {CUT}")
                sample.label = _label(label, field, f"{path}: {name}")
    if not samples:
        raise DataError(f"{path} has no sample; remove it")
    for key, sample in samples.items():
        if sample.image is None or sample.label is None:
            raise DataError(_lacking(path, key, sample, wanted))
    images = np.array([sample.image for sample in samples.values()], dtype=np.int64)
    return {
        "offset": images[:, 0],
        "size": images[:, 1],
        "key": np.array([os.fsencode(key) for key in samples]),
        "label": np.array([sample.label for sample in samples.values()], dtype=str),
    }


def _lacking(path: Path, key: str, sample: _Sample, wanted: Wanted) -> str:
    has = f"{path}: sample {key} has the member(s) {', '.join(ending or 'without ending' for ending in sample.endings)}"
    if sample.label is None:
        return f"{has} and no label {wanted.label!r}; name its ending as dataset.label, or json.FIELD"
    return f"{has} and no image{f' {wanted.image!r}' if wanted.image else ''}; dataset.image names its ending"


def _members(path: Path, content: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each file in a tar file.

    Raises:
        DataError: it is no tar file, or not whole.
    """
    try:
        with tarfile.open(fileobj=content, mode="r:") as tar:
            while (member := tar.next()) is not None:
                vars(tar)["members"] = []  # a list of all of them takes more memory than the index
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise DataError(f"{path}: {member.name} is a link or no plain file; pack the file itself")
                yield member.name.removeprefix("./"), member.offset_data, member.size
            end = tar.offset
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        content.seek(0)
        if content.read(2) == b"\x1f\x8b":
            raise DataError(f"{path} is compressed, so that no image can be read alone: unpack it (gunzip)") from error
        raise DataError(f"{path} is no whole tar file ({error}): {CUT}") from error
    _check_end(path, content, end)


def _check_end(path: Path, content: IO[bytes], end: int) -> None:
    """`tarfile` takes a damaged header, and a file that stops between two members, for the end."""
    content.seek(end)
    rest = 0
    while block := content.read(2**20):
        if block.strip(b"\0"):
            raise DataError(
                f"{path} goes on after its end, or is damaged near byte {content.tell() - len(block)}: if tar files "
                "were joined, keep them apart; else fetch it again"
            )
        rest += len(block)
    if rest < 2 * tarfile.BLOCKSIZE:
        raise DataError(f"{path} has no end mark: {CUT}")


def _label(content: bytes, field: str, where: str) -> str:
    """A label as text."""
    try:
        if not field:
            text = content.decode().strip()
        else:
            tree = json.loads(content)
            if not isinstance(tree, dict) or field not in tree:
                there = ", ".join(tree) if isinstance(tree, dict) else "no fields"
                raise DataError(f"{where} has no field {field!r}; it has {there}")
            value = tree[field]
            if isinstance(value, bool) or not isinstance(value, (int, str)):
                raise DataError(f"{where}: {field} is {value!r}; a class is a whole number or text")
            text = str(value).strip()
    except ValueError as error:
        raise DataError(f"{where} is no {'JSON' if field else 'UTF-8 text'}: {error}") from error
    if not text or "\n" in text:
        raise DataError(f"{where} is {'empty' if not text else 'of several lines'}; a label is a class number or name")
    return text
