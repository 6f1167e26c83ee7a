"""Checks of a noise's rate, labels and transition matrix."""

import warnings
from collections.abc import Sequence

import numpy as np

from lilawbench.support.errors import DataError

Matrix = Sequence[Sequence[float]] | np.ndarray | str  # [K, K], or the path of a CSV


def checked_labels(clean: np.ndarray, num_classes: int) -> int:
    """The number of labels, all of them in 0..K-1."""
    if len(clean) and not (np.min(clean) >= 0 and np.max(clean) < num_classes):
        raise ValueError(f"labels run from {np.min(clean)} to {np.max(clean)}; they must lie in 0..{num_classes - 1}")
    return len(clean)


def checked_rate(rate: float) -> float:
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate}; it must lie in [0, 1)")
    return rate


def checked_matrix(matrix: Matrix, num_classes: int, name: str = "matrix", tolerance: float = 1e-6) -> np.ndarray:
    """[K, K] float64 with rows normalised, which must sum to 1 to within the tolerance already."""
    if isinstance(matrix, str):
        try:
            return checked_matrix(read_matrix(matrix), num_classes, name, tolerance)
        except ValueError as error:
            raise ValueError(f"{matrix}: {error}") from None
    try:
        checked = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):  # rows of different lengths, or no numbers
        raise ValueError(f"the {name} is not a {num_classes} x {num_classes} table of numbers") from None
    if checked.shape != (num_classes, num_classes):
        size = " x ".join(str(n) for n in checked.shape) or "one number"
        raise ValueError(f"the {name} is {size}; the data set has {num_classes} classes: {num_classes} x {num_classes}")
    if not (np.isfinite(checked).all() and (checked >= 0).all() and (checked <= 1).all()):
        raise ValueError(f"the {name} has entries outside [0, 1]")
    sums = checked.sum(axis=1)
    wrong = ", ".join(f"row {i} sums to {sums[i]:.6g}" for i in np.flatnonzero(np.abs(sums - 1) > tolerance))
    if wrong:
        raise ValueError(f"rows must sum to 1: {wrong}")
    return checked / sums[:, None]


def read_matrix(path: str) -> np.ndarray:
    """Numbers separated by commas, one row of the matrix per line; lines that start with # are comments.

    Raises:
        DataError: the file is missing or is no such table.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of an empty file
            return np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a table of numbers with commas between them: {error}") from error
