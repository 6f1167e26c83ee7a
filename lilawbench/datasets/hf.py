"""The user's own images or features in files of Hugging Face `datasets`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.arrow_files import Bytes, Features, column_of, find_parts, read_columns, read_features
from lilawbench.datasets.base import Source
from lilawbench.datasets.given_labels import checked_names, class_numbers, counted
from lilawbench.datasets.new_rows.arrays import ArrayReader
from lilawbench.datasets.own_images import OwnImages
from lilawbench.datasets.own_path import own_path
from lilawbench.datasets.scale import Scale
from lilawbench.loading.packed import PackedImages
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger("lilawbench")

LABELS = ("label", "labels")


class HuggingFace(OwnImages):
    """A folder of `save_to_disk`, or Parquet or Arrow files, on this machine: a column of images or of features.

    Splits are train, val (`validation`) and test; of files, their names say it. Classes are those of a ClassLabel
    column, with its names, or else numbers or texts. Images are encoded in the files (the feature Image, or bytes);
    features are a column of lists [D] of numbers, held in memory and standardised by the training rows. Rows are called
    PART:NUMBER, unless a column names them. Nothing is downloaded, and pyarrow alone reads: `datasets` is not needed.

    Args:
        path: folder or file; as it is, or below the data folder.
        input: column of images or features; None: the one column of images.
        label: column of classes; None: the one ClassLabel, or `label`, or `labels`.
        id: column of names of rows; None: part and number.
        options: of `OwnImages`, for images.
    """

    def __init__(
        self,
        path: str,
        input: str | None = None,
        label: str | None = None,
        id: str | None = None,
        **options: Tree,
    ):
        super().__init__(path, **options)
        self.input, self.label, self.id = input, label, id

    def load(self, data_dir: Path | None) -> Source:
        root = own_path(
            self.path, data_dir, "dataset.path", "a folder that save_to_disk wrote, or Parquet or Arrow files", "either"
        )
        files, left_out = find_parts(root)
        features = read_features(files["train"][0])
        images = [name for name, about in features.items() if about.get("_type") == "Image"]
        classes = [name for name, about in features.items() if about.get("_type") == "ClassLabel"]
        input = column_of(features, self.input, "dataset.input", images, root)
        named = classes or [name for name in LABELS if name in features]
        label = column_of(features, self.label, "dataset.label", named, root)
        if self.id is not None:
            column_of(features, self.id, "dataset.id", (), root)
        wanted = list(dict.fromkeys([input, label, *([] if self.id is None else [self.id])]))
        tables = {part: read_columns(of, wanted) for part, of in files.items()}
        if empty := [part for part, table in tables.items() if not table.num_rows]:
            raise DataError(f"{root}: {empty[0]} has no rows; remove it, or save the data set again")
        given, names = self._classes(files, tables, features, label, root)
        rows = self.with_test(given, names, str(root))
        labels = np.concatenate(list(given.values()))
        log.info(
            "%s: %s%s; input: %s, label: %s; %d classes: %s%s", root,
            ", ".join(f"{len(of):,} {part}" for part, of in rows.items()), "" if "test" in given else ", drawn", input,
            label, len(names), counted(names, labels),
            f"; left out: the splits {', '.join(left_out)}" if left_out else "",
        )  # fmt: skip
        ids = _ids(tables, self.id, root)
        columns = {part: table[input] for part, table in tables.items()}
        if _is_list(columns["train"]):
            return _features_source(columns, labels, rows, names, ids, f"{root}: {input}")
        every = [file for of in files.values() for file in of]
        pack = Bytes([_binary(column, f"{root}: {input} of {part}") for part, column in columns.items()], every)
        packed = PackedImages(pack, np.arange(len(labels)), root, ids, **self.frame)
        return self.source_of(packed, labels, rows, names)

    def _classes(
        self,
        files: Mapping[str, list[Path]],
        tables: Mapping[str, pyarrow.Table],
        features: Features,
        label: str,
        root: Path,
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Classes [n] int64 of each part, and their names."""
        told = features[label].get("names")
        for file in (file for of in files.values() for file in of):
            if (others := read_features(file).get(label, {}).get("names")) != told:
                first = files["train"][0]
                raise DataError(f"{file}: {label} has the classes {others}, in {first} {told}; they must be alike")
        names = checked_names(np.array(told, dtype=str), root) if isinstance(told, list) and told else None
        labels = {part: _plain(table[label], f"{root}: {label} of {part}") for part, table in tables.items()}
        if names is not None:
            for part, numbers in labels.items():
                if numbers.dtype.kind == "i" and len(gone := np.flatnonzero(numbers < 0)):
                    raise DataError(
                        f"{root}: {label} of {part} is {numbers[gone[0]]} in row {gone[0]} ({len(gone)} such rows): no "
                        "label; leave these rows, or this part, out"
                    )
        test = {part: labels.pop(part) for part in ("test",) if part in labels}
        found, classes = class_numbers(labels, test, names, root)
        return {part: found[part] for part in tables}, classes


def _features_source(
    columns: Mapping[str, pyarrow.ChunkedArray],
    labels: np.ndarray,
    rows: Mapping[str, np.ndarray],
    names: Sequence[str],
    ids: np.ndarray,
    where: str,
) -> Source:
    values = {part: _matrix(column, f"{where} of {part}") for part, column in columns.items()}
    if len(widths := {table.shape[1] for table in values.values()}) > 1:
        raise DataError(f"{where} has {' and '.join(map(str, sorted(widths)))} numbers a row in different parts")
    table = np.concatenate(list(values.values()))
    scale = Scale.fitted(table[rows["train"]])
    input = {part: scale(table[of]) for part, of in rows.items()}
    name = {part: ids[of].astype(str) for part, of in rows.items()}
    return Source(
        input["train"],
        labels[rows["train"]],
        input["test"],
        labels[rows["test"]],
        tuple(names),
        val_input=input.get("val"),
        val_clean=labels[rows["val"]] if "val" in rows else None,
        train_ids=name["train"],
        val_ids=name.get("val"),
        test_ids=name["test"],
        reader=ArrayReader(table.shape[1:], scale),
    )


def _ids(tables: Mapping[str, pyarrow.Table], column: str | None, root: Path) -> np.ndarray:
    """Names of all rows, [N] bytes."""
    if column is None:
        return np.concatenate([np.char.add(f"{part}:".encode(), np.arange(table.num_rows).astype(np.bytes_))
                               for part, table in tables.items()])  # fmt: skip
    found = [_plain(table[column], f"{root}: {column} of {part}").astype(str) for part, table in tables.items()]
    return np.char.encode(np.concatenate(found), "utf-8")


def _plain(column: pyarrow.ChunkedArray, where: str) -> np.ndarray:
    """Numbers or text [n], without gaps."""
    import pyarrow
    import pyarrow.compute as pc

    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise DataError(f"{where} is empty in row {row} ({column.null_count} such rows); leave such rows out")
    kind = pyarrow.types
    if kind.is_string(column.type) or kind.is_large_string(column.type) or kind.is_string_view(column.type):
        return np.array(column.to_pylist(), dtype=str)
    if kind.is_integer(column.type) or kind.is_floating(column.type) or kind.is_boolean(column.type):
        numbers: np.ndarray = column.to_numpy()
        return numbers
    raise DataError(f"{where} is {column.type}; it must be whole numbers or text")


def _is_list(column: pyarrow.ChunkedArray) -> bool:
    from pyarrow import types

    return bool(types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type))


def _binary(column: pyarrow.ChunkedArray, where: str) -> pyarrow.ChunkedArray:
    """Encoded images [n]."""
    import pyarrow
    import pyarrow.compute as pc

    kind = column.type
    if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pyarrow.types.is_binary(column.type) or pyarrow.types.is_large_binary(column.type)):
        raise DataError(
            f"{where} is {kind}; it must be images (the feature Image) or lists of numbers. Columns of one number each "
            "are a table: dataset=table"
        )
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise DataError(
            f"{where} holds no image in row {row} ({column.null_count} such rows): if it names a file in place of its "
            "content, save the data set again with save_to_disk; else leave such rows out"
        )
    return column


def _matrix(column: pyarrow.ChunkedArray, where: str) -> np.ndarray:
    """Features [n, D] float32 from lists."""
    import pyarrow
    import pyarrow.compute as pc

    inner = column.type.value_type
    if not (pyarrow.types.is_integer(inner) or pyarrow.types.is_floating(inner)):
        raise DataError(f"{where} has lists of {inner}; features are lists of numbers, all of one length")
    length = pc.list_value_length(column)
    longest = pc.max(length).as_py()
    if length.null_count or not longest or pc.min(length).as_py() != longest:
        row = next(i for i, size in enumerate(length.to_pylist()) if size != (longest or -1))
        raise DataError(f"{where} has {length[row].as_py() or 0} numbers in row {row}, others have {longest}")
    table: np.ndarray = pc.list_flatten(column).to_numpy().astype(np.float32).reshape(len(column), longest)
    if len(wrong := np.flatnonzero(~np.isfinite(table).all(axis=1))):
        raise DataError(f"{where} is not finite in row {wrong[0]} ({len(wrong)} such rows)")
    return table
