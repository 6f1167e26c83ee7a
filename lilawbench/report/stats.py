"""Paired comparisons of two methods over seeds, and Holm's correction over the cells of a table."""

import gc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Comparison(NamedTuple):
    """A method against the baseline over the seeds they share. None: not defined for so few pairs."""

    n: int  # pairs
    mean_difference: float | None  # ours - baseline, in the unit of the inputs
    t_p: float | None  # paired t-test, two-sided
    wilcoxon_p: float | None  # Wilcoxon signed-rank test, two-sided


def compare_paired(ours: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Paired t-test and Wilcoxon signed-rank test of ours - baseline, both two-sided.

    Differences are rounded to 12 decimals first: accuracies are multiples of 1/M, so ties are common,
    and floating-point noise would break them at random. Wilcoxon drops zero differences and is exact up
    to 50 differences without ties and 13 with ties, the normal approximation beyond. All differences
    zero: p = 1. All equal but not zero: the t-test has no variance to judge by and p is its limit, 0.

    Args:
        ours, baseline: one finite value per seed, [n], in the same order of seeds.
    Returns:
        Comparison; both p are None for fewer than 2 pairs.
    Raises:
        ValueError: lengths differ, or a value is not finite.
    Source: Student 1908; Wilcoxon 1945; computed by scipy.stats.ttest_rel and scipy.stats.wilcoxon.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"pairs need two lists of the same length, got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a paired comparison needs finite values")
    n, difference = len(a), np.round(a - b, 12)
    mean = float(difference.mean()) if n else None
    if n < 2:
        return Comparison(n, mean, None, None)
    if not difference.any():
        return Comparison(n, 0.0, 1.0, 1.0)
    return Comparison(n, mean, _t_p(difference), _wilcoxon_p(difference))


def _t_p(difference: np.ndarray) -> float:
    from scipy.stats import ttest_rel

    if (difference == difference[0]).all():
        return 0.0
    return float(ttest_rel(difference, np.zeros_like(difference)).pvalue)


def _wilcoxon_p(difference: np.ndarray) -> float:
    from scipy.stats import wilcoxon

    return float(wilcoxon(difference[difference != 0], method="auto").pvalue)


def smallest_wilcoxon_p(n: int) -> float:
    """The two-sided signed-rank p if all n differences have the same sign, 2 / 2^n; no p is smaller."""
    return min(1.0, 2.0 / 2**n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction: the k-th smallest of m p-values times m - k + 1, made monotone, at most 1.

    None (a comparison that could not be made) stays None and does not count in m.
    Source: Holm 1979; computed by statsmodels.stats.multitest.multipletests.
    """
    given = [p for p in p_values if p is not None]
    if not given:
        return list(p_values)
    from statsmodels.stats.multitest import multipletests

    gc.freeze()  # multipletests collects garbage, which takes .4 s with torch and pandas loaded
    try:
        corrected = iter(multipletests(given, method="holm")[1])
    finally:
        gc.unfreeze()
    return [None if p is None else float(next(corrected)) for p in p_values]


def sample_std(values: Sequence[float]) -> float | None:
    """Sample standard deviation (ddof = 1); None for fewer than 2 values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
