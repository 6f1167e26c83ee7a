"""Which rows a part of a data set keeps: some classes, fewer rows of each, a long tail."""

import math
from collections.abc import Sequence

import numpy as np


def long_tail(counts: np.ndarray, imbalance: float) -> np.ndarray:
    """Class sizes on the exponential profile n_i = n_max * imbalance^(-i / (K - 1)), rounded down.

    n_max is the largest that every class can follow, min_i counts_i * imbalance^(i / (K - 1)): classes of one size
    keep the first one whole. Imbalance 1 evens the classes out.

    Args:
        counts: rows that each class has, [K] int64, K >= 2.
        imbalance: ratio of the first class to the last, >= 1 and finite.
    Returns:
        Rows that each class keeps, [K] int64, 1 <= kept <= counts.
    Raises:
        ValueError: imbalance < 1 or not finite, a class left without a row.
    Source: Cao et al. 2019; Dynamic Loss, "CIFAR-N-LT".
    """
    decay = checked_imbalance(imbalance) ** -np.linspace(0, 1, len(counts))
    kept = np.floor((counts / decay).min() * decay + 1e-9).astype(np.int64)  # 3 * 100 / 100 may be 2.999...
    if kept.min() < 1:
        raise ValueError(f"imbalance {imbalance} leaves class {kept.argmin()} without a row; classes have {counts}")
    return kept


def draw(clean: np.ndarray, counts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rows, sorted: counts[i] random ones of each class i, or all that it has.

    From one state of the generator, smaller counts draw a subset of the rows that larger ones draw.

    Args:
        clean: labels, [N] int64 in 0..K-1. counts: [K] int64.
    """
    rows = [generator.permutation(np.flatnonzero(clean == i))[:count] for i, count in enumerate(counts)]
    return np.sort(np.concatenate(rows))


def checked_classes(classes: Sequence[int], num_classes: int) -> tuple[int, ...]:
    """`classes` if they are at least two different ones of 0..num_classes-1; ValueError otherwise."""
    allowed = f"it must list at least two different classes of 0..{num_classes - 1}"
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise ValueError(f"classes is {classes}; {allowed}")
    wrong = [i for i in classes if not isinstance(i, int) or not 0 <= i < num_classes]
    if wrong:
        raise ValueError(f"classes is {list(classes)}, and {wrong[0]} is not a class; {allowed}")
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"classes is {list(classes)}; {allowed}")
    return tuple(classes)


def checked_imbalance(imbalance: float) -> float:
    """`imbalance` if it is >= 1 and finite; ValueError otherwise."""
    if not 1 <= imbalance < math.inf:
        raise ValueError(f"imbalance is {imbalance}; it must be >= 1: the first class's rows over the last one's")
    return imbalance
