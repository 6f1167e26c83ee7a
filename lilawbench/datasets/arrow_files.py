"""Columns of Arrow and Parquet files as Hugging Face `datasets` writes them, read by pyarrow alone: no code of a data
set is run, and no network is used."""

import bisect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from lilawbench.datasets.file_parts import by_part, files_below
from lilawbench.datasets.folder_names import PARTS, part_of
from lilawbench.support.errors import DataError, closest

if TYPE_CHECKING:
    import pyarrow

ENDINGS = (".parquet", ".arrow")
NOT_DATA = ("cache-", "indices", "tmp")  # what `datasets` leaves beside its Arrow files
MOST_MEMORY = 0.5  # of what is free, for Parquet, which cannot be mapped

Features = dict[str, dict[str, object]]  # what the file says of its columns: {"label": {"_type": "ClassLabel", ...}}


class Bytes:
    """A binary column as a `Pack` of images.

    Args:
        columns: of each part, [n] binary without nulls. files: they are in.
    """

    def __init__(self, columns: "Sequence[pyarrow.ChunkedArray]", files: Sequence[Path]):
        self.chunks = [chunk for column in columns for chunk in column.chunks]
        self.first = np.cumsum([0, *(len(chunk) for chunk in self.chunks)]).tolist()
        stats = [(str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
        self.stated = json.dumps(stats).encode()

    def read(self, number: int) -> bytes:
        """As `Pack.read`."""
        chunk = bisect.bisect_right(self.first, number) - 1
        content: bytes = self.chunks[chunk][number - self.first[chunk]].as_py()
        return content

    def state(self) -> bytes:
        """As `Pack.state`."""
        return self.stated


def find_parts(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Files of each part in order, train first, and the splits that are left out.

    Args:
        path: what `save_to_disk` wrote, a folder of Parquet or Arrow files named by part, or one such file.
    Raises:
        DataError: it is nothing of the kind, or a file of it is missing.
    """
    if path.is_file():
        return {"train": [path]}, []
    if (path / "dataset_dict.json").is_file():
        names = _json(path / "dataset_dict.json").get("splits")
        splits = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        named = {part: [name for name in splits if part_of(name.encode()) == part] for part in PARTS}
        for found in named.values():
            if len(found) > 1:
                raise DataError(f"{path} has the splits {' and '.join(found)} for one part; save one of them alone")
        if not named["train"]:
            raise DataError(f"{path} has the splits {', '.join(splits) or '(none)'}, and none is train")
        used = {part: _saved(path / found[0]) for part, found in named.items() if found}
        return used, [name for name in splits if part_of(name.encode()) is None]
    if (path / "state.json").is_file():
        return {"train": _saved(path)}, []
    files = [file for file in files_below(path, ENDINGS) if not file.name.startswith(NOT_DATA)]
    if not files:
        raise DataError(f"{path} has no .parquet or .arrow file; `save_to_disk` or `to_parquet` of datasets write them")
    return by_part(path, files), []


def _saved(folder: Path) -> list[Path]:
    """The files of one split that `save_to_disk` wrote."""
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder} is a selection from a larger file: save flatten_indices() of it with save_to_disk")
    named = state.get("_data_files")
    files = [folder / str(file["filename"]) for file in named] if isinstance(named, list) else []
    if not files:
        raise DataError(f"{folder / 'state.json'} names no file of data: save the data set again")
    for file in files:
        if not file.is_file():
            raise DataError(f"{file} is missing; {folder / 'state.json'} names it")
    return files


def _json(path: Path) -> dict[str, object]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; save the data set again") from error
    return tree if isinstance(tree, dict) else {}


def read_features(file: Path) -> Features:
    """What a file says of its columns, without reading them; {} of columns that it says nothing of.

    Raises:
        DataError: it is no Arrow or Parquet file.
    """
    schema = _schema(file)
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        told = {}
    return {name: told[name] if isinstance(told.get(name), dict) else {} for name in schema.names}


def read_columns(files: Sequence[Path], names: Sequence[str]) -> "pyarrow.Table":
    """Some columns of the files, one after the other. Arrow files are mapped, Parquet files are read into memory.

    Raises:
        DataError: a file is damaged, lacks a column or has one of another kind; they do not fit into memory.
    """
    import pyarrow

    size = sum(file.stat().st_size for file in files if file.suffix == ".parquet")
    free = psutil.virtual_memory().available
    if size > MOST_MEMORY * free:
        raise DataError(
            f"{files[0].parent}: {size / 2**30:.1f} GiB of Parquet do not fit into {free / 2**30:.1f} GiB of free "
            "memory; save them as Arrow files, which stay on disk: datasets.load_dataset('parquet', data_files=...)"
            ".save_to_disk(FOLDER)"
        )
    tables = []
    for file in files:
        if lacking := [name for name in names if name not in _schema(file).names]:
            raise DataError(f"{file} has no column {lacking[0]!r}, which {files[0].name} has")
        try:
            tables.append(_table(file, names))
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(f"{file} is damaged: {error}") from error
    try:
        return pyarrow.concat_tables([table.replace_schema_metadata() for table in tables])
    except pyarrow.ArrowException as error:
        raise DataError(f"{files[0].parent}: the files have columns of different kinds: {error}") from error


def column_of(features: Features, wanted: str | None, option: str, guesses: Sequence[str], where: Path) -> str:
    """The column that an option names, else the only one of the guesses that there is.

    Raises:
        DataError: there is none, or several.
    """
    if wanted is not None:
        if wanted not in features:
            raise DataError(f"{option}={wanted}: {where} has no such column; {closest(wanted, features)}")
        return wanted
    if len(guesses) != 1:
        raise DataError(f"{where} has the columns {', '.join(features)}; name one as {option}")
    return guesses[0]


def _table(file: Path, names: Sequence[str]) -> "pyarrow.Table":
    import pyarrow
    from pyarrow import parquet

    if file.suffix == ".parquet":
        with parquet.ParquetFile(file) as groups:  # one by one: a nested column of over 2 GiB cannot be read at once
            read = [groups.read_row_group(i, columns=list(names)) for i in range(groups.num_row_groups)]
            return pyarrow.concat_tables(read) if read else groups.schema_arrow.empty_table().select(list(names))
    mapped = pyarrow.memory_map(str(file))
    try:
        return pyarrow.ipc.open_stream(mapped).read_all().select(list(names))
    except pyarrow.ArrowInvalid:
        mapped.seek(0)
        return pyarrow.ipc.open_file(mapped).read_all().select(list(names))


def _schema(file: Path) -> "pyarrow.Schema":
    import pyarrow
    from pyarrow import parquet

    try:
        if file.suffix == ".parquet":
            return parquet.read_schema(file)
        with pyarrow.memory_map(str(file)) as mapped:
            try:
                return pyarrow.ipc.open_stream(mapped).schema
            except pyarrow.ArrowInvalid:
                mapped.seek(0)
                return pyarrow.ipc.open_file(mapped).schema
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} is no Arrow or Parquet file, or damaged: {error}") from error
