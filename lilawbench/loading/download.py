"""Finds a data file on disk, or downloads it: checksum, resume, mirrors and a progress bar.

    fetch(name) -> data_dir/name, else cache/name, else a download to the first of the two that can be written

pooch supplies the cache folder and the hash; its own downloads cannot resume, so they are done here.
"""

import contextlib
import gzip
import logging
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import IO

from lilawbench.support.errors import DataError

CONNECT_SECONDS, READ_SECONDS = 10, 30
CHUNK_BYTES = 1 << 15
MAX_TRIES = 20  # requests to one mirror, each of which must bring new bytes
# raised by a download that is not the wanted file
UNUSABLE = (ValueError, EOFError, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error)

log = logging.getLogger(__name__)


def fetch(name: str, urls: Sequence[str], md5: str, data_dir: Path | None, member: str | None = None) -> Path:
    """Path of a verified local copy of an official data file.

    Several processes may ask for the same file at once: one downloads, the others wait and use it. A failed download
    leaves nothing, but for the bytes that a broken connection brought, from which the next call goes on.

    Args:
        name: the file's official path below a data folder, e.g. "MNIST/raw/train-images-idx3-ubyte.gz".
        urls: mirrors, tried in order.
        md5: expected hash of the file, in hex.
        data_dir: folder tried first, and written to if it can be; None = the cache only.
        member: `urls` point to a zip or tar, and the file is its member of this name (in whatever folder).
    Raises:
        DataError: the file is damaged, or missing and cannot be downloaded, or `data_dir` does not exist.
    """
    if data_dir is not None and not Path(data_dir).is_dir():
        raise DataError(
            f"the data folder {data_dir} does not exist: create it, or point paths.data_dir (LILAWBENCH_DATA) to a "
            f"folder that does, or unset it to use the cache, {cache_dir()}"
        )
    candidates = [Path(folder) / name for folder in (data_dir, cache_dir()) if folder is not None]
    for path in candidates:
        if path.exists():
            at_hand(path)
            return _verified(path, md5)
    if _looking.get():
        raise DataError(f"{name} is not on disk")
    for target in candidates:
        if (made := _make_writable(target.parent)) is not None:
            with _alone(target.parent, made):
                return _download(name, target, urls, md5, member)
    raise DataError(
        f"{name} (md5 {md5}) is not on disk, and no folder can be written to download it: tried "
        f"{' and '.join(str(path.parent) for path in candidates)}; LILAWBENCH_CACHE can name another cache folder"
    )


_looking: ContextVar[bool] = ContextVar("looking", default=False)


class _Found(Exception):
    """Stops a loader inside `missing`; never raised elsewhere."""


def missing(load: Callable[[], object]) -> str | None:
    """Why a data set cannot be read here, or None; reads no file and downloads nothing.

    Args:
        load: reads the data set; it is stopped at the first file.
    """
    token = _looking.set(True)
    try:
        load()
    except _Found:
        return None
    except DataError as error:
        return str(error)
    finally:
        _looking.reset(token)
    return None


def at_hand(path: Path) -> None:
    """A loader that finds its first file without `fetch` calls this: `missing` stops it here."""
    if _looking.get():
        raise _Found(path)


def cache_dir() -> Path:
    """Where downloads go when no data folder is given: LILAWBENCH_CACHE, else the user's cache folder."""
    import pooch

    chosen = os.environ.get("LILAWBENCH_CACHE")
    return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("lilawbench"))


def _verified(path: Path, md5: str) -> Path:
    try:
        found = _md5(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if found != md5:
        raise DataError(
            f"{path} is damaged: its md5 is {found}, expected {md5}. "
            "Delete it to have it downloaded again, or put a good copy there."
        )
    return path


def _md5(path: Path) -> str:
    import pooch

    return str(pooch.file_hash(str(path), alg="md5"))


def _make_writable(folder: Path) -> list[Path] | None:
    """The folders that had to be made, the deepest first; None: it cannot be written to."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return made if os.access(folder, os.W_OK | os.X_OK) else None


@contextlib.contextmanager
def _alone(folder: Path, made: Sequence[Path]) -> Iterator[None]:
    """One process at a time in a folder: the members of an archive share its download.

    Where it fails, the lock goes, and so do the folders that were made, unless something else is in them.
    """
    from filelock import FileLock

    lock = FileLock(folder / ".download.lock", mode=0o666)  # other users wait for it too
    while not lock.is_locked:
        try:
            lock.acquire()
        except FileNotFoundError:  # another process failed meanwhile, and took the folder away
            made = _make_writable(folder) or made
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(lock.lock_file)  # while it is held: who waits for it sees that it is gone, and locks a new one
            for one in made:
                one.rmdir()
        raise
    finally:
        lock.release()


def _download(name: str, target: Path, urls: Sequence[str], md5: str, member: str | None) -> Path:
    from urllib3.exceptions import HTTPError

    reasons = []
    if target.exists():  # another process has downloaded it meanwhile
        return _verified(target, md5)
    for url in urls:
        log.info("downloading %s from %s", name, url)
        try:
            _get(url, target, md5, member)
            return target
        except (OSError, HTTPError, *UNUSABLE) as error:  # the errors of requests are OSErrors
            reasons.append(f"\n  {url}: {_reason(error)}")
    tried = f"could not be downloaded:{''.join(reasons)}" if urls else "has no address to download it from."
    raise DataError(
        f"{name} is not on disk and {tried}\n"
        f"Put the file (md5 {md5}) at {target}, or at {name} in a data folder of your choice, and point "
        "paths.data_dir (or the environment variable LILAWBENCH_DATA) to that folder."
    )


def _reason(error: BaseException) -> str:
    """The innermost cause: requests wraps a 'Connection refused' in three more errors."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


def _get(url: str, target: Path, md5: str, member: str | None) -> None:
    """Downloads `target`, or the archive that holds it, which then stays beside `target` for its other members."""
    whole = target if member is None else target.with_name(PurePosixPath(url).name)
    if member is not None and whole.exists():
        with contextlib.suppress(*UNUSABLE):  # an unusable archive is downloaded again
            return _unpack(whole, target, md5, member)
    part = _part(whole)
    left_over = part.exists()
    _stream_whole(url, part)
    try:
        if member is None:
            _check(part, md5)
        else:
            _unpack(part, target, md5, member)
    except UNUSABLE:
        part.unlink()
        if not left_over:
            raise
    else:
        os.replace(part, whole)
        return
    _get(url, target, md5, member)  # the rest of an earlier download did not fit: once more, from the first byte


def _check(path: Path, md5: str) -> None:
    if (found := _md5(path)) != md5:
        raise ValueError(f"what it sends has the md5 {found}, expected {md5}")


def _unpack(archive: Path, target: Path, md5: str, member: str) -> None:
    unpacked = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with _opened(archive, member) as source, open(unpacked, "wb") as copy:
            shutil.copyfileobj(source, copy)
        _check(unpacked, md5)
        os.replace(unpacked, target)
    finally:
        unpacked.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """A member of a zip or of a tar with any compression."""
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for entry in tar:  # in one pass: a compressed tar cannot seek back
                found = entry.isfile() and PurePosixPath(entry.name).name == member
                if found and (source := tar.extractfile(entry)):
                    yield source
                    return
        raise ValueError(f"there is no {member} in the tar")
    with zipfile.ZipFile(archive) as content:
        inside = [path for path in content.namelist() if PurePosixPath(path).name == member]
        if not inside:
            raise ValueError(f"there is no {member} in the zip")
        with content.open(inside[0]) as source:
            yield source


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _stream_whole(url: str, part: Path) -> None:
    """Downloads `url` into `part`; resumes a broken connection as long as each try brings bytes."""
    from urllib3.exceptions import HTTPError

    for tries_left in reversed(range(MAX_TRIES)):
        before = _size(part)
        try:
            return _stream(url, part)
        except (OSError, HTTPError):
            if _size(part) <= before or not tries_left:
                raise  # `part` stays: the next call resumes from it


def _stream(url: str, part: Path) -> None:
    """One request: the bytes that `part` lacks, or all of them from a server that ignores Range."""
    import requests
    from tqdm import tqdm

    offset = _size(part)
    headers = {"Accept-Encoding": "identity"}  # offsets and hash are of the file's own bytes
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
        if response.status_code == 416:  # nothing after `offset`: complete already, or not a piece of this file
            part.unlink()
            return _stream(url, part)
        response.raise_for_status()
        goes_on = response.status_code == 206
        length = response.headers.get("Content-Length")
        start = offset if goes_on else 0
        with (
            open(part, "ab" if goes_on else "wb") as file,
            # disable=None: no bar where stderr is not a terminal
            tqdm(desc=part.stem, total=int(length) + start if length else None, initial=start,
                 unit="B", unit_scale=True, disable=None) as bar,
        ):  # fmt: skip
            # not iter_content: it would decompress a .gz that the server calls an encoding
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
