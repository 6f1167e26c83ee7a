"""Files that are complete or absent, even if their writer is killed."""

import contextlib
import errno
import glob
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lilawbench.support.errors import DiskError

STALE_SECONDS = 24 * 3600.0  # a part that nobody has written to for so long was left by a killed writer
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path, before: Path | None = None, flush: bool = True) -> Iterator[BinaryIO]:
    """A temporary file beside the target, flushed to disk and renamed at the end; its name is unique to the process.

    A crash or an error leaves the old file, or none. What killed writers of the same file left behind is removed when
    it is a day old.

    Args:
        before: what the old file is renamed to in the end; None: it is lost.
        flush: False does not wait for the disk, some 10 ms: after a power cut the file may be empty. For what other
            files tell as well.
    Raises:
        DiskError: see `writable`.
    """
    part = path.with_name(f"{path.name}.part-{socket.gethostname()}-{os.getpid()}")
    remove_parts(path.parent, f"{glob.escape(path.name)}.part-*", STALE_SECONDS)
    with writable(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            if before is not None and path.exists():
                path.replace(before)
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def write_atomic(path: Path, text: str, flush: bool = True) -> None:
    """`flush`: see `replacing`. Raises: DiskError."""
    with replacing(path, flush=flush) as file:
        file.write(text.encode())


def remove_parts(folder: Path, pattern: str = "*.part-*", age_seconds: float = -math.inf) -> None:
    """Removes what killed writers left in a folder; whatever its age, only the holder of the folder's lock may."""
    with contextlib.suppress(OSError):
        for part in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if time.time() - part.lstat().st_mtime > age_seconds:
                    part.unlink()


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Wraps code that writes to a path.

    Raises:
        DiskError: the write failed; says why, how much space is free and what to do.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(_explained(path, error)) from error


def _explained(path: Path, error: OSError) -> str:
    said = f"{path} cannot be written: {error.strerror or error}"
    if error.errno in _FULL:
        with contextlib.suppress(OSError):
            place = next(parent for parent in path.absolute().parents if parent.exists())
            free = shutil.disk_usage(place).free
            said += f" ({free / 1e6:,.1f} MB free{', so it is a quota' if free > 1e9 else ''})"
    advice = "free some space" if error.errno in _FULL else "fix it"
    return f"{said}; {advice} and run the same command again, or name another folder with paths.output_dir=FOLDER"


def check_place(path: Path, start: str) -> None:
    """Refuses, ahead of any work, to write a file that a person has named over one of another kind, or into no folder.

    Args:
        start: how a file of this kind begins; one that does is replaced.
    Raises:
        DiskError: the path is a folder, or in none, or a file that begins otherwise.
    """
    wrong = ""
    if path.is_dir():
        wrong = "it is a folder"
    elif not path.absolute().parent.is_dir():
        wrong = "its folder does not exist"
    elif path.exists():
        with path.open("rb") as file:
            found = file.read(len(start.encode()))
        wrong = "" if found in (b"", start.encode()) else "it is there, with other content: name another file"
    if wrong:
        raise DiskError(f"{path} cannot be written: {wrong}")
