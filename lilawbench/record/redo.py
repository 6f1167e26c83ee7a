"""sweep.redo=true: a finished run is done again beside its record, which stays until the new run is finished.

    EXPERIMENT/RUN/          the record as it was
    EXPERIMENT/.redo/RUN/    the run being done again; once it has a result, it replaces the record

The second folder also marks a run that is still to be done again: if the command is killed, the same command continues
the marked runs from their checkpoints, and leaves those alone that it has done again already.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from lilawbench.support.atomic import writable

log = logging.getLogger("lilawbench")


def mark(folders: Sequence[Path]) -> None:
    """Marks the finished runs among these, unless some are still marked: then an interrupted command goes on."""
    for folder in folders:
        settle(folder)
    if left := sum(_again(folder).is_dir() for folder in folders):
        log.info("going on with an earlier sweep.redo=true: %d run(s) are left", left)
        return
    for folder in folders:
        if (folder / "result.json").exists():
            with writable(folder):
                _again(folder).mkdir(parents=True)


def working_folder(folder: Path) -> Path:
    """Where a run is done: beside its record if it is marked."""
    again = _again(folder)
    return again if again.is_dir() else folder


def settle(folder: Path) -> None:
    """Replaces the record of a run that has been done again, wherever an earlier attempt was interrupted.

    Raises:
        DiskError: a folder cannot be moved.
    """
    again = _again(folder)
    before = again.with_name(f"{again.name}.before")
    if not again.parent.is_dir() or not ((again / "result.json").exists() or before.is_dir()):
        return
    from filelock import FileLock

    with writable(folder), FileLock(again.parent / ".lock"):
        if (again / "result.json").exists():
            if folder.is_dir():
                shutil.rmtree(before, ignore_errors=True)
                folder.rename(before)
            again.rename(folder)
        if (folder / "result.json").exists():
            shutil.rmtree(before, ignore_errors=True)


def _again(folder: Path) -> Path:
    return folder.parent / ".redo" / folder.name
