import math

import pytest

from lilawbench.report.stats import compare_paired, holm, sample_std, smallest_wilcoxon_p


def test_five_differences_of_one_sign():
    """Differences 1..5: t = 3 / sqrt(2.5 / 5) = 4.2426; with 4 degrees of freedom
    p = 1 - 3/4 * x * (1 - x^2 / 12), x = t / sqrt(1 + t^2 / 4). Wilcoxon: 2 / 2^5."""
    baseline = [0.5, 0.6, 0.7, 0.8, 0.9]
    result = compare_paired([b + d for b, d in zip(baseline, [1, 2, 3, 4, 5])], baseline)
    t = 3 / math.sqrt(2.5 / 5)
    x = t / math.sqrt(1 + t * t / 4)
    assert result.n == 5
    assert result.mean_difference == pytest.approx(3)
    assert result.t_p == pytest.approx(1 - 0.75 * x * (1 - x * x / 12), rel=1e-9) == pytest.approx(0.013236, abs=2e-6)
    assert result.wilcoxon_p == 0.0625


def test_three_pairs_in_closed_form():
    """Differences 1, 2, 3: t = sqrt(12); with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)."""
    result = compare_paired([2, 4, 6], [1, 2, 3])
    assert result.t_p == pytest.approx(1 - math.sqrt(12 / 14))
    assert result.wilcoxon_p == 0.25


def test_swapping_the_sides_changes_the_sign_only():
    one, two = compare_paired([3, 1, 5, 9], [1, 2, 3, 3]), compare_paired([1, 2, 3, 3], [3, 1, 5, 9])
    assert one.mean_difference == -two.mean_difference
    assert (one.t_p, one.wilcoxon_p) == pytest.approx((two.t_p, two.wilcoxon_p))


def test_wilcoxon_with_ties_and_a_zero_is_exact():
    """Differences -1, 1, 2, 2, 3 and 0: ranks 1.5 1.5 3.5 3.5 5, W- = 1.5; 3 of 32 sign patterns have
    W- <= 1.5, so p = 2 * 3 / 32. The zero is dropped."""
    assert compare_paired([-1, 1, 2, 2, 3, 0], [0] * 6).wilcoxon_p == pytest.approx(6 / 32)


def test_floating_point_noise_does_not_break_ties():
    """.9 - .8 and .8 - .7 differ in the last bit; both are .1 and tie: W- = 1.5 of ranks 1.5, 1.5, 3."""
    noisy = compare_paired([0.9, 0.7, 0.5], [0.8, 0.8, 0.2])
    assert noisy.wilcoxon_p == compare_paired([1, -1, 3], [0, 0, 0]).wilcoxon_p == pytest.approx(6 / 8)


def test_no_difference_at_all():
    assert compare_paired([0.8, 0.9], [0.8, 0.9]) == (2, 0.0, 1.0, 1.0)


def test_constant_difference():
    result = compare_paired([0.9, 0.8, 0.7, 0.6, 0.5], [0.8, 0.7, 0.6, 0.5, 0.4])
    assert result.mean_difference == pytest.approx(0.1)
    assert (result.t_p, result.wilcoxon_p) == (0.0, 0.0625)


def test_too_few_pairs():
    assert compare_paired([], []) == (0, None, None, None)
    assert compare_paired([0.5], [0.25]) == (1, 0.25, None, None)


@pytest.mark.parametrize("ours", [[1.0], [1.0, float("nan")]])
def test_bad_pairs_are_refused(ours):
    with pytest.raises(ValueError):
        compare_paired(ours, [1.0, 2.0])


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
