"""Files that are complete or absent, even if their writer is killed."""

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lilawbench.support.errors import DiskError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path, before: Path | None = None) -> Iterator[BinaryIO]:
    """A temporary file beside the target, flushed to disk and renamed at the end; its name is unique to the process.

    A crash or an error leaves the old file, or none.

    Args:
        before: what the old file is renamed to in the end; None: it is lost.
    Raises:
        DiskError: see `writable`.
    """
    part = path.with_name(f"{path.name}.part-{socket.gethostname()}-{os.getpid()}")
    with writable(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if before is not None and path.exists():
                path.replace(before)
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def write_atomic(path: Path, text: str) -> None:
    """Raises: DiskError."""
    with replacing(path) as file:
        file.write(text.encode())


def remove_parts(folder: Path) -> None:
    """Removes what killed writers left in a folder. Only the holder of its lock may call this."""
    for part in folder.glob("*.part-*"):
        with contextlib.suppress(OSError):
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
