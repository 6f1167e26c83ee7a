"""Where the user's own files lie: a path of a data set's options, as it is or below the data folder."""

from pathlib import Path
from typing import Literal

from lilawbench.support.errors import DataError

Kind = Literal["file", "folder", "either"]
THERE = {"file": Path.is_file, "folder": Path.is_dir, "either": Path.exists}


def own_path(path: str | Path, data_dir: Path | None, option: str, what: str, kind: Kind = "file") -> Path:
    """The file or folder that an option names. ~ is the user's home; a relative path starts at the current folder.

    Args:
        option: that names it. what: it must be, both for the message.
    Raises:
        DataError: there is none, with the folders that were looked into.
    """
    asked = Path(path).expanduser()
    places = [asked] if data_dir is None else [asked, Path(data_dir) / asked]
    for place in places:
        if THERE[kind](place):
            return place
    other = next((place for place in places if place.exists()), None)
    wrong = "does not exist" if other is None else "is a folder" if other.is_dir() else "is a file"
    raise DataError(f"{option}={path} {wrong}{_looked_in(asked, data_dir)}; name {what}")


def _looked_in(path: Path, data_dir: Path | None) -> str:
    if path.is_absolute():
        return ""
    below = "; paths.data_dir is not set" if data_dir is None else f", and paths.data_dir, {Path(data_dir).absolute()}"
    return f" (looked for in the current folder, {Path.cwd()}{below})"
