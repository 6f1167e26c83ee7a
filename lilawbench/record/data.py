"""The content of the files that a run's options name: it belongs to the run's identity, so edited data are another run.

Where data lie is not part of it: the same content elsewhere is the same run. Official downloads are named by no option;
their loaders check them.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from lilawbench.config import LABELS_ONLY
from lilawbench.record.code import TYPED
from lilawbench.support.atomic import write_atomic
from lilawbench.support.errors import DataError, DiskError
from lilawbench.support.plain import Tree

# A folder of more than this counts by names, sizes and times of change instead of bytes, and a larger file likewise.
MOST_FILES, MOST_BYTES = 20_000, 4 * 2**30
CACHE = ".digests.json"  # in paths.output_dir
WORTH_SECONDS = 0.2  # what took less to read is not cached
SETTLED_SECONDS = 2.0  # a file that changed later than this may change again within one tick of its clock
OPTIONS = re.compile(r"(.*_)?(path|file|folder|dir|root|checkpoint)")  # names of options whose value is a path
LOOKS_LIKE_ONE = re.compile(r".*/.*|.*\.[A-Za-z][A-Za-z0-9]{0,9}")  # values of other options that may be one
RUN = ("labels.npz", "config.yaml")  # a run's folder, which stands for its labels


class Named(NamedTuple):
    """A file or folder that an option names."""

    option: str  # dotted, within its group
    path: str  # absolute

    @property
    def kind(self) -> str:
        """The ending, by which readers tell formats; "/" of a folder."""
        return "/" if os.path.isdir(self.path) else Path(self.path).suffix


class Contents:
    """Digests of paths, each looked at once. `looked_at_once` makes one."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}


_once: ContextVar[Contents | None] = ContextVar("once", default=None)
_read: dict[str, tuple[str, str]] = {}  # path -> state of its files, digest; of this process


@contextmanager
def looked_at_once() -> Iterator[None]:
    """Within this, what a path holds is looked at once: a plan names a thousand runs by the same data."""
    token = _once.set(_once.get() or Contents())
    try:
        yield
    finally:
        _once.reset(token)


def data(cfg: Mapping[str, Tree]) -> dict[str, str]:
    """Digests of the files and folders that options of a config name, by group; most configs have none.

    Args:
        cfg: the resolved root config.
    Raises:
        DataError: a file cannot be read.
    """
    home = cfg["paths"]["output_dir"]
    digests = {}
    for group, files in named(cfg).items():
        found = [[file.option, file.kind, _content(file.path, home)] for file in files]
        digests[group] = hashlib.sha256(json.dumps(found).encode()).hexdigest()[:12]
    return digests


def check_unchanged(cfg: Mapping[str, Tree]) -> None:
    """To be called when data have been read.

    Raises:
        DataError: they are not those that the run is named by any more.
    """
    before, token = data(cfg), _once.set(None)
    try:
        now = data(cfg)
    finally:
        _once.reset(token)
    if changed := [
        file.path for group, files in named(cfg).items() if now.get(group) != before.get(group) for file in files
    ]:
        raise DataError(f"{', '.join(changed)} has changed while it was being read: start the same command again")


def named(cfg: Mapping[str, Tree]) -> dict[str, list[Named]]:
    """What is there of the paths that options name, by group: as given, else below paths.data_dir."""
    places = [""] + ([cfg["paths"]["data_dir"]] if cfg["paths"]["data_dir"] else [])
    groups = {group: list(_named(node, places)) for group, node in cfg.items() if _is_part(group, node)}
    return {group: files for group, files in groups.items() if files}


def without_places(node: Tree, files: list[Named]) -> Tree:
    """A copy of a group's node with kinds of files in place of their paths."""
    kinds = {file.option: file.kind for file in files}

    def changed(tree: Tree, name: str) -> Tree:
        if isinstance(tree, dict):
            return {key: changed(value, f"{name}.{key}") for key, value in tree.items()}
        if isinstance(tree, list):
            return [changed(value, f"{name}.{number}") for number, value in enumerate(tree)]
        return kinds.get(name[1:], tree)

    return changed(node, "")


def _is_part(group: str, node: Tree) -> bool:
    return isinstance(node, dict) and group not in TYPED and group not in ("logger", "launcher")


def _named(tree: Tree, places: list[str], name: str = "", is_path: bool = False) -> Iterator[Named]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(key, str) and (key.startswith("_") or key in LABELS_ONLY):
                continue
            yield from _named(value, places, f"{name}.{key}", bool(OPTIONS.fullmatch(str(key))))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _named(value, places, f"{name}.{number}", is_path)
    elif isinstance(tree, str) and tree and (is_path or LOOKS_LIKE_ONE.fullmatch(tree)):
        tried = (os.path.join(place, os.path.expanduser(tree)) for place in places)
        if (path := next((path for path in tried if os.path.isfile(path) or os.path.isdir(path)), None)) is not None:
            labels, config = (os.path.join(path, file) for file in RUN)
            is_run = os.path.isfile(labels) and os.path.isfile(config)
            yield Named(name[1:], os.path.abspath(labels if is_run else path))


def _content(path: str, home: str) -> str:
    """The digest of a file or folder.

    Args:
        home: the output folder; it is left out of a folder that holds it, and has the cache.
    """
    once = _once.get() or Contents()
    if path not in once.found:
        try:
            once.found[path] = _known(path, home)
        except OSError as error:
            raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    return once.found[path]


def _known(path: str, home: str) -> str:
    state = _state(path, os.path.realpath(home))
    if state.by_times:
        return state.by_times
    known = _read.get(path) or _cached(home).get(path)
    if known is None or known[0] != state.key:
        start = time.perf_counter()
        known = state.key, _digest(path, state.files)
        is_settled = time.time() - state.newest_ns / 1e9 > SETTLED_SECONDS
        if is_settled and time.perf_counter() - start > WORTH_SECONDS:
            _keep(home, path, known)
    _read[path] = known
    return known[1]


class _State(NamedTuple):
    """What the file system says of a file, or of all files in a folder."""

    key: str  # differs when any of them has changed; of what is read
    by_times: str  # the digest of what is too large to be read; "" of anything else
    newest_ns: int  # last change of any
    number: int
    files: list[tuple[str, str]]  # name below the folder, path; of what is read


def _state(path: str, home: str) -> _State:
    key, by_times = hashlib.sha256(), hashlib.sha256()
    files: list[tuple[str, str]] = []
    count = total = newest = 0
    for below, entries in _folders(path, home):
        times, changes, names = [], [], []
        while entries:  # perhaps a million, each of which keeps what its `stat` has returned
            entry = entries.pop()
            stat = entry.stat()
            times.append(f"{entry.name}\0{stat.st_size} {stat.st_mtime_ns}\n")
            total += stat.st_size
            if count <= MOST_FILES:
                changes.append(max(stat.st_mtime_ns, stat.st_ctime_ns))
                names.append((below + entry.name, entry.path))
        lines = f"{below}\0\n" + "".join(sorted(times))
        by_times.update(lines.encode(errors="surrogateescape"))
        count += len(times)
        if count <= MOST_FILES:
            key.update(f"{lines}{sorted(changes)}\n".encode(errors="surrogateescape"))
            newest = max([newest, *changes])
            files += sorted(names)
    is_large = count > MOST_FILES or total > MOST_BYTES
    return _State(key.hexdigest(), by_times.hexdigest() if is_large else "", newest, count, files)


def _folders(path: str, home: str) -> Iterator[tuple[str, "list[os.DirEntry[str] | _File]"]]:
    """Each folder below a path, in order, and its files; of a file, that one without its name.

    Links are followed, each folder once; hidden files and folders, and `home`, are left out.
    """
    if not os.path.isdir(path):
        yield "", [_File(path)]
        return
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        here = os.path.join(path, below)
        place = os.stat(here)
        if (place.st_dev, place.st_ino) in seen or os.path.realpath(here) == home:
            continue
        seen.add((place.st_dev, place.st_ino))
        with os.scandir(here) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
        waiting += sorted((f"{below}{entry.name}/" for entry in entries if entry.is_dir()), reverse=True)
        yield below, [entry for entry in entries if entry.is_file()]  # neither links to nothing nor pipes


class _File:
    """A file on its own, as `os.scandir` has those of a folder."""

    name = ""

    def __init__(self, path: str):
        self.path = path

    def stat(self) -> os.stat_result:
        return os.stat(self.path)


def _digest(path: str, files: list[tuple[str, str]]) -> str:
    """Of names and bytes."""
    digest = hashlib.sha256()
    for name, file in files:
        with open(file, "rb", buffering=0) as content:
            inner = hashlib.file_digest(content, "sha256").hexdigest()
        digest.update(f"{name}\0{inner}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _cached(home: str) -> dict[str, tuple[str, str]]:
    """What earlier processes have read; none where there is no cache, or a damaged one."""
    try:
        with open(os.path.join(home, CACHE), encoding="utf-8") as file:
            tree = json.load(file)
        return {str(path): (str(key), str(digest)) for path, (key, digest) in tree.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(home: str, path: str, known: tuple[str, str]) -> None:
    """Adds an entry to the cache; of two processes at once, one's may be lost and is read again."""
    if os.path.isdir(home):  # nothing is written for a run that may be refused
        with contextlib.suppress(DiskError):
            write_atomic(Path(home) / CACHE, json.dumps(_cached(home) | {path: known}, indent=0))
