"""Rows of a file of labels, found by the names that a data set gives its rows."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lilawbench.support.errors import DataError

NAMES = ("ids", "id")  # a run's labels.npz has the first


def name_column(
    values: Mapping[str | int, Sequence[str] | np.ndarray], ids: np.ndarray | None, labels: Collection[str | int | None]
) -> str | int | None:
    """The column that holds the names of all rows, else one called `ids` or `id`; None: there is none.

    Args:
        values: columns by name. ids: [N] str, names of the data set's rows; None: they have numbers, which columns of
            other names may hold by chance. labels: columns that hold labels.
    """
    texts = [key for key in values if key not in labels and np.asarray(values[key]).ndim == 1]
    own: list[str | int] = [key for key in NAMES if key in texts]
    if len(values) == 1 or not texts:
        return None
    if ids is not None:
        wanted = set(_stripped(ids).tolist())
        for key in [*own, *(key for key in texts if key not in own and np.asarray(values[key]).dtype.kind in "US")]:
            if wanted <= set(_stripped(values[key]).tolist()):
                return key
    return own[0] if own else None


def rows_named(
    names: Sequence[str] | np.ndarray, ids: np.ndarray, where: str, needed: bool = True
) -> np.ndarray | None:
    """Rows of the file, [N] int64, in the data set's order; None: the file has none of the names.

    Args:
        names: of the file's rows, each once. ids: [N] str, names of the data set's rows. where: for messages.
        needed: False: None too where the file has some of the names only.
    Raises:
        DataError: a row of the data set is not in the file, or is in it twice.
    """
    there, wanted = _stripped(names), _stripped(ids)
    if np.array_equal(there, wanted):  # rows may share a name then
        return np.arange(len(wanted))
    row_of = dict(zip(there.tolist(), range(len(there))))
    missing = [name for name in wanted.tolist() if name not in row_of]
    if len(missing) == len(wanted) or (missing and not needed):
        return None
    if missing:
        raise DataError(f"{where}: no row is called {missing[0]} ({len(missing)} of the {len(wanted)} names that the "
                        "data set has are not there)")  # fmt: skip
    kept = set(wanted.tolist())
    twice = [name for row, name in enumerate(there.tolist()) if name in kept and row_of[name] != row]
    if twice:
        raise DataError(f"{where}: the name {twice[0]} is there more than once ({len(set(twice))} such)")
    return np.array([row_of[name] for name in wanted.tolist()], dtype=np.int64)


def _stripped(values: Sequence[str] | np.ndarray) -> np.ndarray:
    return np.strings.strip(np.asarray(values).astype(str).ravel())
