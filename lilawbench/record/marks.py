"""The marks of a run's folder: result.json of a finished run, failed.json of one that stopped on its own.

A damaged result is neither taken for a finished run nor trained over: it is refused, by its name. Whoever reads a mark
of one of several runs lets that run fail, and goes on with the others.
"""

from collections.abc import Mapping
from pathlib import Path

from lilawbench.record.identity import SCHEMA_VERSION
from lilawbench.record.writer import read_json
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

REQUIRED = ("config.seed", "config.method.name", "config.dataset.name")  # of a result, besides schema_version
REPAIR = "The file is damaged or incomplete: delete it and start the run again with the same command."


def result(folder: Path) -> dict[str, Tree] | None:
    """The content of a finished run's result.json; None: there is none.

    Raises:
        DataError: it cannot be read, is not the result of a run, or is of another version.
    """
    path = folder / "result.json"
    if not is_there(path):
        return None
    try:
        return checked(read_json(path))
    except DataError as error:
        raise DataError(str(error) if str(path) in str(error) else f"{folder}: {error}") from None


def checked(record: Mapping[str, Tree]) -> dict[str, Tree]:
    """A result as read from disk. Raises: DataError, without the folder's name, it is not the result of a run."""
    if (version := record.get("schema_version")) not in (None, SCHEMA_VERSION):
        raise DataError(
            f"result.json has schema_version {version} (lilawbench {record.get('versions.lilawbench', 'unknown')}), "
            f"this lilawbench reads {SCHEMA_VERSION}. Read it with the version that wrote it, or do the run again."
        )
    if missing := [key for key in ("schema_version", *REQUIRED) if record.get(key) is None]:
        raise DataError(f"result.json has no {', '.join(missing)}. {REPAIR}")
    return dict(record)


def failure(folder: Path) -> str | None:
    """Why a run has stopped on its own, as its failed.json says; None: it has not. A damaged file still marks it."""
    path = folder / "failed.json"
    if not is_there(path):
        return None
    try:
        error = read_json(path).get("error")
    except DataError as unreadable:
        return str(unreadable)
    return error if isinstance(error, str) else f"{path} does not say why"


def is_there(path: Path) -> bool:
    """Whether a mark exists. Raises: DataError, the folder cannot be entered."""
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; make it readable, or move its folder away") from None
