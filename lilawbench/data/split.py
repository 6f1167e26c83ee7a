"""Stratified rows for the validation set, for smaller training sets and for tables without an official split."""

import numpy as np

from lilawbench.apportion import apportion

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
        labels: OBSERVED labels as `Source` has them: nobody who trains on noisy labels can stratify by clean ones.
        fraction: share of the second part, in [0, 1].
    Returns:
        (first, second): sorted rows, int64, disjoint, together 0..N-1; len(second) is fraction * N rounded half up.
    """
    labels = strata(labels)
    classes, counts = np.unique(labels, return_counts=True)
    taken = apportion(counts * fraction)
    second = np.concatenate(
        [generator.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(classes, taken, strict=True)]
    )
    mask = np.zeros(len(labels), dtype=bool)
    mask[second] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)
