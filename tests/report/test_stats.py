import math

import numpy as np
import pytest
from scipy.stats import norm, wilcoxon

from lilawbench.report.stats import (
    bootstrap_interval,
    compare_paired,
    compare_t,
    detectable,
    equivalence,
    holm,
    paired_differences,
    sample_std,
    smallest_wilcoxon_p,
    t_interval,
)


def test_five_differences_of_one_sign():
    """Differences 1..5: t = 3 / sqrt(2.5 / 5) = 4.2426; with 4 degrees of freedom
    p = 1 - 3/4 * x * (1 - x^2 / 12), x = t / sqrt(1 + t^2 / 4). Wilcoxon: 2 / 2^5."""
    baseline = [0.5, 0.6, 0.7, 0.8, 0.9]
    result = compare_paired([b + d for b, d in zip(baseline, [1, 2, 3, 4, 5])], baseline)
    t = 3 / math.sqrt(2.5 / 5)
    x = t / math.sqrt(1 + t * t / 4)
    assert result.n == 5
    assert result.difference == pytest.approx(3)
    assert result.p_t == pytest.approx(1 - 0.75 * x * (1 - x * x / 12), rel=1e-9) == pytest.approx(0.013236, abs=2e-6)
    assert result.p_wilcoxon == 0.0625


def test_three_pairs_in_closed_form():
    """Differences 1, 2, 3: t = sqrt(12); with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)."""
    result = compare_paired([2, 4, 6], [1, 2, 3])
    assert result.p_t == pytest.approx(1 - math.sqrt(12 / 14))
    assert result.p_wilcoxon == 0.25


def test_swapping_the_sides_changes_the_sign_only():
    one, two = compare_paired([3, 1, 5, 9], [1, 2, 3, 3]), compare_paired([1, 2, 3, 3], [3, 1, 5, 9])
    assert one.difference == -two.difference
    assert (one.p_t, one.p_wilcoxon) == pytest.approx((two.p_t, two.p_wilcoxon))


def test_wilcoxon_with_ties_and_a_zero_is_exact():
    """Differences -1, 1, 2, 2, 3 and 0: ranks 1.5 1.5 3.5 3.5 5, W- = 1.5; 3 of 32 sign patterns have
    W- <= 1.5, so p = 2 * 3 / 32. The zero is dropped."""
    assert compare_paired([-1, 1, 2, 2, 3, 0], [0] * 6).p_wilcoxon == pytest.approx(6 / 32)


@pytest.mark.parametrize("n", [2, 5, 9, 30])
def test_wilcoxon_with_ties_is_scipys(n):
    generator = np.random.default_rng(n)
    for _ in range(3):
        difference = generator.integers(-4, 6, n)
        left = difference[difference != 0]
        expected = wilcoxon(left).pvalue if len(left) else 1.0
        assert compare_paired(difference, np.zeros(n)).p_wilcoxon == pytest.approx(expected, abs=1e-12)


def test_floating_point_noise_does_not_break_ties():
    """.9 - .8 and .8 - .7 differ in the last bit; both are .1 and tie: W- = 1.5 of ranks 1.5, 1.5, 3."""
    noisy = compare_paired([0.9, 0.7, 0.5], [0.8, 0.8, 0.2])
    assert noisy.p_wilcoxon == compare_paired([1, -1, 3], [0, 0, 0]).p_wilcoxon == pytest.approx(6 / 8)


def test_no_difference_at_all():
    """t = 0 and d_z = 0 whatever the variance; how far the mean may lie from 0, none tells."""
    assert compare_paired([0.8, 0.9, 1.0], [0.8, 0.9, 1.0]) == (3, 0.0, 1.0, 1.0, None, None, 0.0, None)


@pytest.mark.parametrize("n", [2, 5])
def test_a_constant_difference_leaves_no_variance_to_judge_by(n):
    """The signs of all n may yet be tested, 2 / 2^n."""
    baseline = [0.8, 0.7, 0.6, 0.5, 0.4][:n]
    result = compare_paired([one + 0.1 for one in baseline], baseline)
    assert result == (n, pytest.approx(0.1), None, 2 / 2**n, None, None, None, None)
    assert compare_t([one + 0.1 for one in baseline], baseline).p_t is None


def test_too_few_pairs():
    assert compare_paired([], []) == (0, *[None] * 7)
    assert compare_paired([0.5], [0.25]) == (1, 0.25, *[None] * 6)


@pytest.mark.parametrize("ours", [[1.0], [1.0, float("nan")]])
def test_bad_pairs_are_refused(ours):
    with pytest.raises(ValueError):
        compare_paired(ours, [1.0, 2.0])


def test_the_interval_of_t():
    """Differences 1, 2, 3: mean 2, sd 1; with 2 degrees of freedom t(.975) = 4.302653: 2 ± 4.302653 / sqrt(3)."""
    low, high = compare_paired([2, 4, 6], [1, 2, 3]).ci
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-6)


@pytest.mark.parametrize("shift", [-1e-9, 1e-9])
def test_the_interval_of_t_ends_at_zero_where_p_is_05(shift):
    """Its lower end moved to 0: p is on either side of .05."""
    difference = np.array([1.0, 2.0, 4.0, 4.5])
    moved = difference - t_interval(difference)[0] + shift
    assert (compare_paired(moved, np.zeros(4)).p_t < 0.05) == (t_interval(moved)[0] > 0) == (shift > 0)


def test_the_bootstrap_of_three_pairs_has_ten_outcomes():
    """Means of three draws of 0, 0 and 3, by hand: 0 (8 of 27), 1 (12), 2 (6) and 3 (1). Percentiles would be 0 and
    3 (1/27 > .025); BCa moves them: z0 = Phi^-1((8 + 12/2) / 27), a = sum(d^3) / (6 sum(d^2)^1.5), d = -.5, -.5, 1."""
    difference = np.array([0.0, 0.0, 3.0])
    z0 = norm.ppf((8 + 12 / 2) / 27)
    a = (1 - 2 / 8) / (6 * (1 + 2 / 4) ** 1.5)
    ends = [norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in norm.ppf([0.025, 0.975])]
    cumulated = np.cumsum([8, 12, 6, 1]) / 27
    assert bootstrap_interval(difference) == pytest.approx([np.searchsorted(cumulated, end) for end in ends], abs=1e-6)
    assert bootstrap_interval(difference) == bootstrap_interval(difference)


def test_the_bootstrap_of_shares_is_that_of_their_counts():
    """Rows of 359 test rows: equal means of resamples are equal whatever the last bits of thirds and 359ths."""
    rows = np.array([3.0, -2.0, -7.0, 8.0, 3.0])
    shares = paired_differences(0.8 + rows / 359, np.full(5, 0.8))
    assert bootstrap_interval(shares) == pytest.approx(np.array(bootstrap_interval(rows)) / 359, abs=1e-8)
    assert np.round(bootstrap_interval(rows), 3).tolist() == [-4.0, 5.0], "scipy of whole numbers, whose sums are exact"


def test_effect_size_by_hand():
    """Differences 1..5: d_z = 3 / sqrt(2.5); J(4) = Gamma(2) / (sqrt(2) Gamma(1.5)), Gamma(1.5) = sqrt(pi) / 2."""
    exact = 3 / math.sqrt(2.5) / (math.sqrt(2) * math.sqrt(math.pi) / 2)
    assert compare_paired([1, 2, 3, 4, 5], [0] * 5).effect == pytest.approx(exact, rel=1e-12)
    assert compare_paired([1, 2], [0, 0]).effect is None


def test_practical_equivalence_by_hand():
    """Differences 1..5, rope 1.5: t = 1.5 / sqrt(.5) above the upper end; with 4 degrees of freedom
    P(T < t) = 1/2 + 3/8 x (1 - x^2 / 12), x = t / sqrt(1 + t^2 / 4); the lower end is at t = 4.5 / sqrt(.5)."""

    def up_to(t):
        x = t / math.sqrt(1 + t * t / 4)
        return 0.5 + 3 / 8 * x * (1 - x * x / 12)

    found = equivalence(np.arange(1.0, 6.0), 1.5)
    above, below = up_to(1.5 / math.sqrt(0.5)), 1 - up_to(4.5 / math.sqrt(0.5))
    assert found == pytest.approx((1.5, below, 1 - above - below, above))


def test_no_region_gives_the_one_sided_p():
    difference = np.array([1.0, -0.5, 2.0, 0.7])
    rope, below, within, above = equivalence(difference, 0.0)
    assert (below, within) == pytest.approx((compare_paired(difference, np.zeros(4)).p_t / 2, 0.0))
    assert (below + above, rope) == pytest.approx((1.0, 0.0))


def test_equal_differences_have_no_posterior():
    assert equivalence(np.full(3, 0.5), 0.6) is equivalence(np.full(1, 0.5), 0.6) is None


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 5, 10, 50])
def test_what_n_pairs_can_detect_is_what_statsmodels_solves_for(n):
    from statsmodels.stats.power import TTestPower

    difference = np.random.default_rng(n).normal(1.0, 3.0, n)
    d = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8, alternative="two-sided")
    assert detectable(difference) == pytest.approx(d * difference.std(ddof=1), rel=1e-5)


def test_two_pairs_detect_almost_nothing():
    """With 1 degree of freedom t(.975) = 12.7062 and t = (z + nc) / |u|, z and u normal: in P(t > 12.7) = .8 nearly
    only |u| < nc / 12.7 counts, so nc is about 12.7 Phi^-1(.9) = 16.3. Differences 0 and 2 have the sd sqrt(2)."""
    assert detectable(np.array([0.0, 2.0])) == pytest.approx(12.7062 * norm.ppf(0.9), rel=0.005)
    assert detectable(np.array([0.5])) is detectable(np.full(4, 0.5)) is None


def test_holm():
    """.01 * 3 = .03; .03 * 2 = .06; .04 * 1 = .04, raised to .06."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_leaves_out_what_could_not_be_compared():
    corrected = holm([None, 0.01, None, 0.04])
    assert corrected[0] is corrected[2] is None
    assert corrected[1::2] == pytest.approx([0.02, 0.04])
    assert holm([None]) == [None]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_std_is_the_sample_std():
    assert sample_std([1, 2, 3]) == 1.0
    assert sample_std([1]) is None


def test_smallest_wilcoxon_p():
    assert [smallest_wilcoxon_p(n) for n in (1, 2, 5, 6)] == [1.0, 0.5, 0.0625, 0.03125]
