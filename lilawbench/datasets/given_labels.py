"""Labels as people save them, as whole numbers, as text or as values, turned into what a `Source` holds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lilawbench.datasets.npz import text, told
from lilawbench.support.errors import DataError, first_of
from lilawbench.support.natural import natural

MISSING = ("", "nan")  # text that stands for no label: numpy writes NaN among text so
LARGEST = 2**53  # up to this every whole number has a float64 of its own


def class_numbers(
    arrays: Mapping[str, np.ndarray], unseen: Mapping[str, np.ndarray], names: Sequence[str] | None, path: Path
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Labels of one class a sample as class numbers [N] int64, and the class names.

    Numbers are class numbers where there are names; without names each number, or each text in its natural order, is a
    class.

    Args:
        arrays: name -> labels [N] or [N, 1]: whole numbers, or text. unseen: the same, of test rows; they name no
            class. names: of the classes; None: the labels tell.
    Raises:
        DataError: no such labels, no label in some row, a label that is no class; with file, array and row.
    """
    flat = {name: _flat(array, f"{path}: {name}") for name, array in {**arrays, **unseen}.items()}
    if len({labels.dtype.kind for labels in flat.values()}) > 1:
        kinds = ", ".join(f"{name} {labels.dtype}" for name, labels in flat.items())
        raise DataError(f"{path}: labels are numbers in one array and text in another: {kinds}")
    numbers = next(iter(flat.values())).dtype.kind == "i"
    if names is None:
        found = np.unique(np.concatenate([flat[name] for name in arrays]))
        if numbers and found[0] < 0 and found.tolist() != [-1, 1]:
            name = next(name for name in arrays if (flat[name] < 0).any())
            row = int(np.flatnonzero(flat[name] < 0)[0])
            raise DataError(
                f"{path}: {name} is {flat[name][row]} in row {row}; a class number is not negative; leave rows "
                "without a label out"
            )
        values = found.tolist() if numbers else sorted(map(str, found), key=natural)
        names = [str(value) for value in values]
    else:
        values = list(range(len(names))) if numbers else list(names)
    if len(names) < 2:
        raise DataError(f"{path}: the labels have one class only, {first_of(names)}; a classifier needs two")
    order = np.argsort(np.array(values), kind="stable")
    ranked = np.array(values)[order]
    result = {}
    for name, labels in flat.items():
        at = np.searchsorted(ranked, labels).clip(max=len(ranked) - 1)
        if len(wrong := np.flatnonzero(ranked[at] != labels)):
            raise DataError(
                f"{path}: {name} is {labels[wrong[0]]!s} in row {wrong[0]} ({len(wrong)} such rows), none of the "
                f"{len(names)} classes {first_of(values)}"
            )
        result[name] = order[at].astype(np.int64)
    return result, tuple(names)


def checked_names(array: np.ndarray | None, path: Path) -> list[str] | None:
    """class_names of a file as text. Raises: DataError, they are no list of different names."""
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        raise DataError(f"{path}: class_names is {told(array)}; it must list a name for each class")
    names = (
        text(array, f"{path}: class_names").tolist()
        if array.dtype.kind in "US"
        else [str(number) for number in array.tolist()]
    )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path}: class_names has {twice[0]!r} twice")
    return names


def several(array: np.ndarray, where: str) -> np.ndarray:
    """Several labels a sample, [N, K] int64 of 0 and 1. Raises: DataError, they are others."""
    if array.ndim != 2 or array.dtype.kind not in "iubf":
        raise DataError(f"{where} is {told(array)}; several labels a sample are 0 and 1, [N, K]")
    if len(wrong := np.argwhere((array != 0) & (array != 1))):
        at = tuple(wrong[0].tolist())
        raise DataError(f"{where} is {array[at]} in row {at[0]}, label {at[1]}; it must be 0 or 1")
    return array.astype(np.int64)


def values(array: np.ndarray, where: str) -> np.ndarray:
    """Values to predict, [N] float32, from [N] or [N, 1]. Raises: DataError, they are no finite numbers."""
    array = _column(array, where)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{where} is {told(array)}; values to predict are numbers, [N]")
    with np.errstate(over="ignore"):
        found = array.astype(np.float32)
    if len(wrong := np.flatnonzero(~np.isfinite(found))):
        raise DataError(f"{where} is {array[wrong[0]]} in row {wrong[0]} ({len(wrong)} such rows); it must be finite")
    return found


def counted(names: Sequence[str], labels: np.ndarray) -> str:
    """ "cat 20, dog 31": the first classes, with their number of labels [N] int64."""
    counts = np.bincount(labels, minlength=len(names)).tolist()
    return first_of([f"{name} {count:,}" for name, count in zip(names, counts, strict=True)])


def _flat(array: np.ndarray, where: str) -> np.ndarray:
    """[N] int64, or str of one form."""
    array = _column(array, where)
    kind = array.dtype.kind
    if kind in "US":
        texts = text(array, where)
        if len(gone := np.flatnonzero(np.isin(texts, MISSING))):
            raise DataError(f"{where} has no label in row {gone[0]} ({len(gone)} such rows); leave such rows out")
        return texts
    wide = array.astype(np.float64) if kind in "uf" else np.zeros(0)
    if len(wrong := np.flatnonzero((wide != np.floor(wide)) | ~(np.abs(wide) < LARGEST))):
        raise DataError(
            f"{where} is {array[wrong[0]]} in row {wrong[0]}; classes are whole numbers or text. Values to predict "
            "need dataset.task=regression loss=squared"
        )
    if kind not in "iubf":
        raise DataError(f"{where} is {told(array)}; classes are whole numbers or text")
    return array.astype(np.int64)


def _column(array: np.ndarray, where: str) -> np.ndarray:
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise DataError(
            f"{where} is {told(array)}; one label a sample is [N] or [N, 1]. Several labels a sample need "
            "dataset.task=multilabel loss=bce"
        )
    return array
