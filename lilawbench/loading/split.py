"""Stratified rows for the validation set, for smaller training sets and for tables without an official split."""

import math
from collections.abc import Sequence

import numpy as np

from lilawbench.support.apportion import apportion
from lilawbench.support.errors import DataError, first_of

BINS = 10  # of a value, to stratify by


def strata(labels: np.ndarray) -> np.ndarray:
    """What to stratify by, [N] int64: the class, the number of labels of [N, K], or the tenth in which a value lies."""
    if labels.ndim == 2:
        return labels.sum(axis=1)
    if np.issubdtype(labels.dtype, np.floating):
        return np.argsort(np.argsort(labels, kind="stable"), kind="stable") * BINS // max(len(labels), 1)
    return labels


def stratified(labels: np.ndarray, fraction: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Splits rows in two so that each class keeps its share; the whole count is exact.

    Args:
        labels: OBSERVED labels as `Source` has them: who trains on noisy labels cannot stratify by clean ones.
        fraction: share of the second part, in [0, 1].
    Returns:
        (first, second): sorted rows, int64, disjoint, together 0..N-1; len(second) is fraction * N rounded half up.
    """
    labels = strata(labels)
    counts = np.unique(labels, return_counts=True)[1]
    taken = apportion(counts * fraction)
    of_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])  # one pass, not one for each class
    second = np.concatenate([generator.permutation(rows)[:n] for rows, n in zip(of_class, taken, strict=True)])
    mask = np.zeros(len(labels), dtype=bool)
    mask[second] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def stratified_test(
    labels: np.ndarray, names: Sequence[str], fraction: float, seed: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train and rows to test of data without an official split: `stratified`, with each class in both parts.

    Args:
        labels: [N] int64 in 0..K-1. names: of the classes, for messages. fraction: of test rows, in (0, 1).
    Raises:
        DataError: a class has too few rows for that, with its name and `where`.
    """
    class_rows(labels, names, math.ceil(1 / min(fraction, 1 - fraction) - 1e-9), where, f"test_fraction={fraction}")
    return stratified(labels, fraction, np.random.default_rng(seed))


def class_rows(labels: np.ndarray, names: Sequence[str], least: int, where: str, split: str = "") -> None:
    """Raises: DataError naming the classes with fewer than `least` rows, which `split` needs."""
    counts = np.bincount(labels, minlength=len(names))
    few = [f"{names[i]!r} ({counts[i]})" for i in np.flatnonzero(counts < least).tolist()]
    if few:
        need = f"the split dataset.{split} needs {least} samples of a class" if split else "a class needs a sample"
        advice = "Drop or join such classes, or name test data"
        raise DataError(f"{where}: too few samples of {first_of(few)}; {need}. {advice}")
