"""sweep.redo=true: a finished run is done again beside its record, which stays until the new run is finished.

    EXPERIMENT/RUN/          the record as it was
    EXPERIMENT/.redo/RUN/    the run being done again; once it has a result, it replaces the record
    EXPERIMENT/.redo/RUN.todo  in its place for a run that has no record yet, until it has one

The second and third also mark a run that is still to be done: if the command is killed, the same command continues the
marked runs from their checkpoints, and leaves those alone that it has done already.
"""

import logging
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from lilawbench.record import marks
from lilawbench.support.atomic import writable
from lilawbench.support.errors import UserError

log = logging.getLogger("lilawbench")


def mark(folders: Sequence[Path], retry_failed: bool = False) -> dict[Path, UserError]:
    """Marks these runs, unless some are still marked: then an interrupted command goes on.

    Args:
        retry_failed: whether a marked run that failed is still to be done.
    Returns:
        Why a run could not be marked, of those that could not.
    """
    refused: dict[Path, UserError] = {}
    for folder in folders:
        try:
            settle(folder)
        except UserError as error:
            refused[folder] = error
    if found := left(folders, retry_failed):
        log.info("going on with an earlier sweep.redo=true: %d run(s) are left", len(found))
        return refused
    for folder in folders:
        try:
            if folder not in refused:
                again, finished = _again(folder), marks.is_there(folder / "result.json")
                with writable(folder):
                    again.parent.mkdir(parents=True, exist_ok=True)
                    again.mkdir(exist_ok=True) if finished else _todo(folder).touch()
        except UserError as error:
            refused[folder] = error
    return refused


def left(folders: Iterable[Path], retry_failed: bool = False) -> list[Path]:
    """Those of the runs that an earlier command marked and has not done; with `retry_failed` the failed ones, too."""
    marked = (folder for folder in folders if _again(folder).is_dir() or _todo(folder).exists())
    return [folder for folder in marked if retry_failed or not _failed(folder)]


def unmark(folders: Iterable[Path]) -> None:
    """Forgets the marks of runs that cannot begin, so that they do not keep the others from being done again."""
    for folder in folders:
        with suppress(OSError):
            _todo(folder).unlink(missing_ok=True)
            _again(folder).rmdir()  # if nothing is in it


def working_folder(folder: Path) -> Path:
    """Where a run is done: beside its record if it is marked."""
    again = _again(folder)
    return again if again.is_dir() else folder


def settle(folder: Path) -> None:
    """Replaces the record of a run that has been done again, wherever an earlier attempt was interrupted.

    Raises:
        DataError: the new result is damaged. DiskError: a folder cannot be moved.
    """
    again, todo = _again(folder), _todo(folder)
    before = again.with_name(f"{again.name}.before")
    if todo.exists() and marks.is_there(folder / "result.json"):
        with writable(folder):
            todo.unlink(missing_ok=True)
        with suppress(OSError):
            todo.parent.rmdir()
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


def _failed(folder: Path) -> bool:
    try:
        return marks.failure(working_folder(folder)) is not None
    except UserError:  # told when the run's turn comes
        return False


def _todo(folder: Path) -> Path:
    return folder.parent / ".redo" / f"{folder.name}.todo"


def _again(folder: Path) -> Path:
    return folder.parent / ".redo" / folder.name
