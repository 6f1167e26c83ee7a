"""Noise on several labels a sample, and on values.

`exact` fixes the number of changed labels to int(rate * count); without it each changes independently with that
probability. Each returns observed labels of the shape and type of `clean`, which is not modified.
"""

import math

import numpy as np

from lilawbench.noise.transition import _pick
from lilawbench.tasks import fits


@fits("multilabel")
def label_flip(
    clean: np.ndarray,
    num_classes: int,
    rate: float,
    generator: np.random.Generator,
    absent_rate: float | None = None,
    exact: bool = True,
) -> np.ndarray:
    """Flips labels one by one: a present one is lost with probability rate, an absent one appears with absent_rate.

    Most labels are absent: with one rate for both, the false labels may outnumber the true ones.

    Args:
        clean: [N, K] int64, 0 or 1.
        rate: probability that a label that is there goes, in [0, 1).
        absent_rate: probability that one that is not there comes, likewise; None: rate.
    Raises:
        ValueError: a rate outside [0, 1).
    """
    observed = np.array(clean, dtype=np.int64)
    flat, was = observed.reshape(-1), np.ravel(clean)
    for value, chance in ((1, rate), (0, rate if absent_rate is None else absent_rate)):
        places = np.flatnonzero(was == value)
        flat[places[_pick(len(places), chance, generator, exact)]] = 1 - value
    return observed


@fits("regression")
def target_gaussian(
    clean: np.ndarray,
    num_classes: int,
    rate: float,
    generator: np.random.Generator,
    scale: float = 1.0,
    exact: bool = True,
) -> np.ndarray:
    """Adds scale * std(clean) * N(0, 1) to a share of the values.

    Args:
        clean: [N] float.
        rate: share of the values that move, in [0, 1).
        scale: size of the noise in standard deviations of the clean values, > 0.
    Raises:
        ValueError: rate outside [0, 1), scale <= 0.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale}; it must be > 0 and finite")
    observed = np.array(clean)
    rows = _pick(len(clean), rate, generator, exact)
    observed[rows] += (scale * np.std(clean) * generator.standard_normal(len(rows))).astype(observed.dtype)
    return observed


@fits("regression")
def target_uniform(
    clean: np.ndarray, num_classes: int, rate: float, generator: np.random.Generator, exact: bool = True
) -> np.ndarray:
    """Redraws a share of the values, uniformly between the smallest and the largest clean value.

    Args:
        clean: [N] float.
        rate: share of the values that are redrawn, in [0, 1).
    Raises:
        ValueError: rate outside [0, 1).
    """
    observed = np.array(clean)
    rows = _pick(len(clean), rate, generator, exact)
    if len(rows):
        observed[rows] = generator.uniform(np.min(clean), np.max(clean), size=len(rows)).astype(observed.dtype)
    return observed
