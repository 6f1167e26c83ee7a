"""Paired comparisons of two methods over seeds, and Holm's correction over the cells of a table."""

import gc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ALPHA = 0.05  # a smaller p tells two methods apart
POWER = 0.8  # of `detectable`
LEVEL = 1 - ALPHA  # of every interval
RESAMPLES = 9999
MOST_EXACT = 13  # pairs with ties whose signs are all tried, as scipy does it


class Comparison(NamedTuple):
    """A method against the baseline over the seeds they share. None: not defined for so few pairs or no variance."""

    n: int  # pairs
    difference: float | None  # mean of ours - baseline, in the unit of the inputs
    p_t: float | None  # paired t-test, two-sided
    p_wilcoxon: float | None  # Wilcoxon signed-rank test, two-sided
    ci: tuple[float, float] | None = None  # 95 % interval of the mean difference, by the t distribution
    boot: tuple[float, float] | None = None  # the same by the bootstrap over seeds
    effect: float | None = None  # Hedges-corrected d_z
    detectable: float | None = None  # the smallest true difference that the t-test would probably have found

    @property
    def tested(self) -> bool:
        """Whether there are pairs to test by; the t-test needs differences of more than one size besides."""
        return self.n > 1

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
            "detectable": self.detectable,
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
    equal: there is no variance to judge by, so there is no interval, and no p of the t-test. If all are
    zero, p = 1 and the effect is 0, as for any variance.

    Args:
        ours, baseline: one finite value per seed, [n], in the same order of seeds.
    Returns:
        Comparison; with fewer than 2 pairs nothing but the difference.
    Raises:
        ValueError: lengths differ, or a value is not finite.
    Source: Student 1908; Wilcoxon 1945; computed by scipy.stats.ttest_rel, wilcoxon and permutation_test.
        Intervals: see `t_interval` and `bootstrap_interval`. Effect size: see `effect_size`. See `detectable` too.
    """
    difference = paired_differences(ours, baseline)
    found = _by_t(difference)
    if not found.tested:
        return found
    return found._replace(
        p_wilcoxon=_wilcoxon_p(difference),
        boot=bootstrap_interval(difference),
        effect=effect_size(difference),
        detectable=detectable(difference),
    )


def compare_t(ours: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """The mean difference of `compare_paired` with its t-test and the interval of that alone, which is quick."""
    return _by_t(paired_differences(ours, baseline))


def _by_t(difference: np.ndarray) -> Comparison:
    n = len(difference)
    mean = float(difference.mean()) if n else None
    return Comparison(n, mean, _t_p(difference), None, t_interval(difference))


def paired_differences(ours: Sequence[float], baseline: Sequence[float]) -> np.ndarray:
    """ours - baseline, [n] float64, to 12 decimals. Raises: see `compare_paired`."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"pairs need two lists of the same length, got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a paired comparison needs finite values")
    return np.round(a - b, 12)


def t_interval(difference: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of a mean difference: mean ± t(.975, n - 1) sd / sqrt(n).

    Args:
        difference: [n].
    Returns:
        None for fewer than 2 pairs, and where all differences are equal.
    Source: Student 1908; the interval belongs to the paired t-test: it holds 0 exactly where p is at least .05.
    """
    if _all_equal(difference):
        return None
    mean, half = float(difference.mean()), _critical_t(len(difference)) * _standard_error(difference)
    return mean - half, mean + half


def detectable(difference: np.ndarray) -> float | None:
    """The true mean difference, of either sign, that the two-sided paired t-test at 5 % finds with a power of 80 % over
    as many pairs, if differences have the standard deviation that they had here: an estimate, rough for few seeds.

    sd * nc / sqrt(n), where a noncentral t of n - 1 degrees of freedom and noncentrality nc exceeds t(.975, n - 1) with
    a probability of .8. That such a t is below -t(.975, n - 1) is less probable than 1e-6, and is neglected.

    Args:
        difference: paired differences, [n].
    Returns:
        In the unit of the differences, above 0. None for fewer than 2 pairs, and where all differences are equal.
    Source: Cohen 1988, Chapter 2, with the exact distribution in place of his tables.
    """
    from scipy.special import nctdtrinc

    if _all_equal(difference):
        return None
    n = len(difference)
    return float(nctdtrinc(n - 1, 1 - POWER, _critical_t(n))) * _standard_error(difference)


def bootstrap_interval(difference: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of a mean difference by 9,999 resamples of the seeds, bias-corrected and accelerated (BCa).

    The resamples are the same in every call; means that agree to seven decimals of the largest difference are equal. It
    supposes no normal distribution; with fewer than about ten seeds it is too narrow, since no resample lies outside
    what was seen.

    Args:
        difference: [n].
    Returns:
        None for fewer than 2 pairs, and where all differences are equal.
    Source: Efron 1987, computed by scipy.stats.bootstrap.
    """
    from scipy.stats import bootstrap

    if _all_equal(difference):
        return None
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
    if _all_equal(difference):
        return None if difference.any() else 0.0
    correction = np.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / np.sqrt(m / 2)
    return float(correction * difference.mean() / difference.std(ddof=1))


def equivalence(difference: np.ndarray, rope: float) -> Equivalence | None:
    """How probable it is that a difference matters, by the posterior of the mean difference: a t distribution with
    n - 1 degrees of freedom around the mean, its scale sd / sqrt(n).

    Args:
        difference: paired differences, [n]. rope: differences from -rope to rope count as none; not negative.
    Returns:
        None for fewer than 2 pairs, and where all differences are equal.
    Source: Benavoli et al. 2017, Section 4.1.1 with no correlation; baycomp's `two_on_single` with runs=1 has
        a correlation of the folds of a cross-validation, which runs of several seeds are not.
    """
    from scipy.special import stdtr

    if _all_equal(difference):
        return None
    n, mean, error = len(difference), float(difference.mean()), _standard_error(difference)
    below, up_to = (float(stdtr(n - 1, (bound - mean) / error)) for bound in (-rope, rope))
    return Equivalence(rope, below, up_to - below, 1 - up_to)


def _all_equal(difference: np.ndarray) -> bool:
    """Whether there is no variance to judge by: fewer than 2 pairs, or differences of one size."""
    return len(difference) < 2 or bool((difference == difference[0]).all())


def _standard_error(difference: np.ndarray) -> float:
    return float(difference.std(ddof=1) / np.sqrt(len(difference)))


def _critical_t(n: int) -> float:
    """What t has to exceed over n pairs."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + LEVEL) / 2))


def _t_p(difference: np.ndarray) -> float | None:
    from scipy.stats import ttest_rel

    if _all_equal(difference):
        return 1.0 if len(difference) > 1 and not difference.any() else None
    return float(ttest_rel(difference, np.zeros_like(difference)).pvalue)


def _wilcoxon_p(difference: np.ndarray) -> float:
    from scipy.stats import permutation_test, rankdata, wilcoxon

    if not difference.any():
        return 1.0
    left = difference[difference != 0]
    ranks = rankdata(np.abs(left))
    if len(np.unique(ranks)) == len(left) or len(left) > MOST_EXACT:
        return float(wilcoxon(left, method="auto").pvalue)
    # as scipy's wilcoxon does with ties, but over all 2^n signs at once: there ten pairs take a fifth of a second
    signed = (np.sign(left) * ranks,)
    return float(permutation_test(signed, _rank_sum, permutation_type="samples", n_resamples=np.inf).pvalue)


def _rank_sum(signed: np.ndarray, axis: int) -> np.ndarray:
    """The sum of the ranks of positive differences."""
    return np.where(signed > 0, signed, 0).sum(axis)


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
