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

from lilawbench.record import marks
from lilawbench.support.atomic import writable
from lilawbench.support.errors import UserError

log = logging.getLogger("lilawbench")


def mark(folders: Sequence[Path]) -> dict[Path, UserError]:
    """Marks the finished runs among these, unless some are still marked: then an interrupted command goes on.

    Returns:
        Why a run could not be marked, of those that could not.
    """
    refused: dict[Path, UserError] = {}
    for folder in folders:
        try:
            settle(folder)
        except UserError as error:
            refused[folder] = error
    if left := sum(_again(folder).is_dir() for folder in folders):
        log.info("going on with an earlier sweep.redo=true: %d run(s) are left", left)
        return refused
    for folder in folders:
        try:
            if folder not in refused and marks.is_there(folder / "result.json"):
                with writable(folder):
                    _again(folder).mkdir(parents=True)
        except UserError as error:
            refused[folder] = error
    return refused


def working_folder(folder: Path) -> Path:
    """Where a run is done: beside its record if it is marked."""
    again = _again(folder)
    return again if again.is_dir() else folder


def settle(folder: Path) -> None:
    """Replaces the record of a run that has been done again, wherever an earlier attempt was interrupted.

    Raises:
        DataError: the new result is damaged. DiskError: a folder cannot be moved.
    """
    again = _again(folder)
    before = again.with_name(f"{again.name}.before")
    if not again.parent.is_dir() or not (marks.result(again) or before.is_dir()):
        return
    from filelock import FileLock

    with writable(folder), FileLock(again.parent / ".lock", mode=0o666):
        if marks.result(again):
            if folder.is_dir():
                shutil.rmtree(before, ignore_errors=True)
                folder.rename(before)
            again.rename(folder)
        if marks.is_there(folder / "result.json"):
            shutil.rmtree(before, ignore_errors=True)


def _again(folder: Path) -> Path:
    return folder.parent / ".redo" / folder.name
