"""Paired comparisons of two methods over seeds, and Holm's correction over the cells of a table."""

import gc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ALPHA = 0.05  # a smaller p tells two methods apart
LEVEL = 1 - ALPHA  # of every interval
RESAMPLES = 9999


class Comparison(NamedTuple):
    """A method against the baseline over the seeds they share. None: not defined for so few pairs."""

    n: int  # pairs
    difference: float | None  # mean of ours - baseline, in the unit of the inputs
    p_t: float | None  # paired t-test, two-sided
    p_wilcoxon: float | None  # Wilcoxon signed-rank test, two-sided
    ci: tuple[float, float] | None = None  # 95 % interval of the mean difference, by the t distribution
    boot: tuple[float, float] | None = None  # the same by the bootstrap over seeds
    effect: float | None = None  # Hedges-corrected d_z

    @property
    def columns(self) -> dict[str, float | None]:
        """The comparison under the names of the CSV."""
        ci_low, ci_high = self.ci or (None, None)
        boot_low, boot_high = self.boot or (None, None)
        return {
            "difference": self.difference,
            "ci_low": ci_low,
            "ci_high": ci_high,
            "boot_low": boot_low,
            "boot_high": boot_high,
            "effect": self.effect,
            "p_t": self.p_t,
            "p_wilcoxon": self.p_wilcoxon,
        }


class Equivalence(NamedTuple):
    """Probabilities that the true difference is below, within and above a region of practical equivalence."""

    rope: float  # the region is from -rope to rope, in the unit of the differences
    below: float
    within: float
    above: float


NOT_COMPARED = Comparison(0, None, None, None)


def compare_paired(ours: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Paired t-test and Wilcoxon signed-rank test of ours - baseline, both two-sided, with intervals and effect size.

    Differences are rounded to 12 decimals first: accuracies are multiples of 1/M, so ties are common,
    and floating-point noise would break them at random. Wilcoxon drops zero differences and is exact up
    to 50 differences without ties and 13 with ties, the normal approximation beyond. All differences
    zero: p = 1. All equal but not zero: the t-test has no variance to judge by and p is its limit, 0.
    In both cases the intervals are that one point.

    Args:
        ours, baseline: one finite value per seed, [n], in the same order of seeds.
    Returns:
        Comparison; with fewer than 2 pairs nothing but the difference.
    Raises:
        ValueError: lengths differ, or a value is not finite.
    Source: Student 1908; Wilcoxon 1945; computed by scipy.stats.ttest_rel and scipy.stats.wilcoxon.
        Intervals: see `t_interval` and `bootstrap_interval`. Effect size: see `effect_size`.
    """
    difference = paired_differences(ours, baseline)
    n = len(difference)
    mean = float(difference.mean()) if n else None
    if n < 2:
        return Comparison(n, mean, None, None)
    intervals = t_interval(difference), bootstrap_interval(difference)
    if not difference.any():
        return Comparison(n, 0.0, 1.0, 1.0, *intervals, effect_size(difference))
    return Comparison(n, mean, _t_p(difference), _wilcoxon_p(difference), *intervals, effect_size(difference))


def paired_differences(ours: Sequence[float], baseline: Sequence[float]) -> np.ndarray:
    """ours - baseline, [n] float64, to 12 decimals. Raises: see `compare_paired`."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"pairs need two lists of the same length, got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a paired comparison needs finite values")
    return np.round(a - b, 12)


def paired_t(ours: Sequence[float], baseline: Sequence[float]) -> float | None:
    """The p of the t-test in `compare_paired` alone."""
    difference = paired_differences(ours, baseline)
    if len(difference) < 2:
        return None
    return _t_p(difference) if difference.any() else 1.0


def t_interval(difference: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean difference: mean ± t(.975, n - 1) sd / sqrt(n).

    Args:
        difference: [n], n at least 2.
    Source: Student 1908; the interval belongs to the paired t-test: it holds 0 exactly where p is at least .05.
    """
    from scipy.special import stdtrit

    mean, error = float(difference.mean()), _standard_error(difference)
    half = float(stdtrit(len(difference) - 1, (1 + LEVEL) / 2)) * error
    return mean - half, mean + half


def bootstrap_interval(difference: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean difference by 9,999 resamples of the seeds, bias-corrected and accelerated (BCa).

    The resamples are the same in every call; means that agree to seven decimals of the largest difference are equal. It
    supposes no normal distribution; with fewer than about ten seeds it is too narrow, since no resample lies outside
    what was seen.

    Args:
        difference: [n], n at least 2.
    Source: Efron 1987, computed by scipy.stats.bootstrap.
    """
    from scipy.stats import bootstrap

    if (difference == difference[0]).all():
        return float(difference[0]), float(difference[0])
    size = np.abs(difference).max()
    drawn = np.random.default_rng(0)
    found = bootstrap(
        (difference / size,), _mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="BCa", rng=drawn
    )
    return float(size * found.confidence_interval.low), float(size * found.confidence_interval.high)


def _mean(of: np.ndarray, axis: int = -1) -> np.ndarray:
    """Accuracies are counts over rows, so that means of resamples are often equal; the last bits must not part them,
    for BCa counts how many lie below the mean seen."""
    return np.round(of.mean(axis), 7)


def effect_size(difference: np.ndarray) -> float | None:
    """Cohen's d_z, the mean of paired differences over their standard deviation, with Hedges' correction.

    The correction takes the bias of few pairs off: J(m) = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)), m = n - 1.

    Args:
        difference: [n].
    Returns:
        In standard deviations of the difference. None for fewer than 3 pairs, where J is 0, and for differences that
        are equal and not zero.
    Source: Hedges 1981, eq. 6e; Lakens 2013, eq. 6.
    """
    from scipy.special import gammaln

    m = len(difference) - 1
    if m < 2:
        return None
    if (difference == difference[0]).all():
        return None if difference[0] else 0.0
    correction = np.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / np.sqrt(m / 2)
    return float(correction * difference.mean() / difference.std(ddof=1))


def equivalence(difference: np.ndarray, rope: float) -> Equivalence | None:
    """How probable it is that a difference matters, by the posterior of the mean difference: a t distribution with
    n - 1 degrees of freedom around the mean, its scale sd / sqrt(n).

    Args:
        difference: paired differences, [n]. rope: differences from -rope to rope count as none; not negative.
    Returns:
        None for fewer than 2 pairs. Where all differences are equal, the posterior is that point.
    Source: Benavoli et al. 2017, Section 4.1.1 with no correlation; baycomp's `two_on_single` with runs=1 has
        a correlation of the folds of a cross-validation, which runs of several seeds are not.
    """
    from scipy.special import stdtr

    n = len(difference)
    if n < 2:
        return None
    mean, error = float(difference.mean()), _standard_error(difference)
    if error == 0:
        return Equivalence(rope, float(mean < -rope), float(abs(mean) <= rope), float(mean > rope))
    below, up_to = (float(stdtr(n - 1, (bound - mean) / error)) for bound in (-rope, rope))
    return Equivalence(rope, below, up_to - below, 1 - up_to)


def _standard_error(difference: np.ndarray) -> float:
    if (difference == difference[0]).all():
        return 0.0
    return float(difference.std(ddof=1) / np.sqrt(len(difference)))


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
