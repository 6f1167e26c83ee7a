"""Stratified rows for the validation set and for smaller training sets."""

import numpy as np

from lilawbench.apportion import apportion


def stratified(labels: np.ndarray, fraction: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Splits rows in two so that each class keeps its share; the whole count is exact.

    Args:
        labels: OBSERVED labels, [N] int64: nobody who trains on noisy labels can stratify by clean ones.
        fraction: share of the second part, in [0, 1].
    Returns:
        (first, second): sorted rows, int64, disjoint, together 0..N-1; len(second) is fraction * N rounded half up.
    """
    classes, counts = np.unique(labels, return_counts=True)
    taken = apportion(counts * fraction)
    second = np.concatenate(
        [generator.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(classes, taken, strict=True)]
    )
    mask = np.zeros(len(labels), dtype=bool)
    mask[second] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)
