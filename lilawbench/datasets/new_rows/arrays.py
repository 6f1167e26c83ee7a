"""New rows of arrays: features, series, or images as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from lilawbench.datasets.new_rows.base import Labelling, NewRows, Reader, checked_labels, numbered
from lilawbench.datasets.npz import Npz, told
from lilawbench.datasets.scale import Scale
from lilawbench.support.errors import DataError, first_of
from lilawbench.support.plain import Tree

Rows = Callable[[np.ndarray, str], NewRows]
NAMES = {1: "features", 2: "series"}  # of an array, by the dimensions of a row


class ArrayReader(Reader):
    """Numbers of one shape a row: an .npz file with `features` [N, D] or `series` [N, T, C], or in memory an array.

    Args:
        shape: of a row. scale: of its last dimension; None: the rows are taken as they are.
    """

    kind: ClassVar[str] = "arrays"

    def __init__(self, shape: Sequence[int], scale: Scale | None = None):
        self.shape, self.scale = tuple(shape), scale
        self.name = NAMES.get(len(self.shape), "inputs")
        self.wants = f"an .npz file with {self.name} [N, {', '.join(map(str, self.shape))}]"

    def read(self, path: Path, labelling: Labelling | None = None) -> NewRows:
        return from_npz(path, self.name, self._rows, labelling)

    def take(self, raw: object) -> NewRows:
        input = self._rows(np.asarray(raw), "the array")
        return NewRows(input.input, numbered(len(input.ids)))

    def _rows(self, array: np.ndarray, where: str) -> NewRows:
        import torch

        if array.ndim == 2 and len(self.shape) == 2 and self.shape[1] == 1:  # series of one channel
            array = array[:, :, None]
        if array.shape[1:] != self.shape or array.dtype.kind not in "iufb":
            raise DataError(
                f"{where} is {told(array)}; the run's rows are numbers [N, {', '.join(map(str, self.shape))}]"
            )
        if not len(array):
            raise DataError(f"{where} has no rows")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if len(wrong := np.argwhere(~np.isfinite(array))):
            raise DataError(
                f"{where}{wrong[0].tolist()} is {array[tuple(wrong[0])]} ({len(wrong)} such numbers); fill them, or "
                "leave such rows out"
            )
        return NewRows(torch.from_numpy(array) if self.scale is None else self.scale(array), numbered(len(array)))

    def described(self) -> dict[str, Tree]:
        scale = None if self.scale is None else {"mean": self.scale.mean.tolist(), "std": self.scale.std.tolist()}
        return {"shape": list(self.shape), "scale": scale}

    @classmethod
    def of(cls, described: Mapping[str, Tree]) -> ArrayReader:
        scale = described["scale"]
        if scale is not None:
            scale = Scale(*(np.array(scale[name], dtype=np.float64) for name in ("mean", "std")))
        return cls(described["shape"], scale)


def from_npz(path: Path, name: str, rows_of: Rows, labelling: Labelling | None) -> NewRows:
    """The rows of one array of a file, with its `ids` (or `index`) and `labels`; all may begin with test_.

    Args:
        name: of the array. rows_of: array, where for messages -> its rows.
    Raises:
        DataError: no such file or array; rows, ids or labels do not fit.
    """
    file = Npz(path, None, "--data")
    before = next((start for start in ("", "test_") if f"{start}{name}" in file), None)
    if before is None:
        raise DataError(f"{file.path} has the arrays {first_of(file.names)}; this run reads {name} or test_{name}")
    found = rows_of(file[f"{before}{name}"], f"{file.path}: {before}{name}")
    count = len(found.ids)
    named = (file.texts(f"{before}{key}", count) for key in ("ids", "index"))
    ids = next((texts for texts in named if texts is not None), found.ids)
    return NewRows(found.input, ids, _given(file, before, count, labelling))


def _given(file: Npz, before: str, count: int, labelling: Labelling | None) -> np.ndarray | None:
    label = next((f"{before}{name}" for name in ("labels", "target") if f"{before}{name}" in file), None)
    if labelling is None or label is None or labelling.task == "multilabel":
        return None
    array, where = file[label], f"{file.path}: {label}"
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.shape != (count,):
        raise DataError(f"{where} is {told(array)}; it must have a label for each of {count} rows")
    if labelling.task == "regression":
        return array.astype(np.float64)
    if array.dtype.kind in "iub" and not set(array.astype(str).tolist()) <= set(labelling.class_names):
        names = labelling.class_names  # numbers of named classes
        if array.min(initial=0) >= 0 and array.max(initial=0) < len(names):
            return np.array(names, dtype=str)[array.astype(int)]
    return checked_labels(array.astype(str), labelling, where)
