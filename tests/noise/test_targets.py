"""Noise on labels and values: rates within binomial error over 1e5 draws, exact counts, what stays as it was."""

import numpy as np
import pytest

from lilawbench.noise import label_flip, none, target_gaussian, target_uniform

LABELS = (np.random.default_rng(0).random((10_000, 10)) < 0.2).astype(np.int64)
VALUES = np.random.default_rng(0).gamma(2.0, 5.0, 100_000).astype(np.float32)


def generator(seed=1):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rate, absent_rate", [(0.3, None), (0.4, 0.05), (0.2, 0)])
@pytest.mark.parametrize("exact", [True, False])
def test_flips_follow_the_matrix(rate, absent_rate, exact):
    """P(observed | clean) of each kind of label; exact to one label, else within four standard errors."""
    observed = label_flip(LABELS, 10, rate, generator(), absent_rate, exact)
    for value, wanted in ((1, rate), (0, rate if absent_rate is None else absent_rate)):
        flipped = (observed != LABELS)[value == LABELS]
        tolerance = 1 / len(flipped) if exact else 4 * np.sqrt(wanted * (1 - wanted) / len(flipped))
        assert flipped.mean() == pytest.approx(wanted, abs=tolerance + 1e-12)
    assert observed.shape == LABELS.shape and observed.dtype == np.int64 and set(np.unique(observed)) == {0, 1}


def test_flips_favour_no_label_and_leave_clean_alone():
    before = LABELS.copy()
    shares = (label_flip(LABELS, 10, 0.3, generator()) != LABELS).mean(axis=0)
    assert np.abs(shares - 0.3).max() < 4 * np.sqrt(0.3 * 0.7 / 10_000)
    assert np.array_equal(LABELS, before)


def test_gaussian_noise_has_its_size_and_share():
    observed = target_gaussian(VALUES, 1, 0.4, generator(), scale=0.5)
    moved = observed != VALUES
    assert moved.sum() == 40_000 and observed.dtype == np.float32
    step = (observed.astype(float) - VALUES)[moved] / VALUES.std()
    assert step.mean() == pytest.approx(0, abs=4 * 0.5 / 200)
    assert step.std() == pytest.approx(0.5, rel=0.02)
    assert np.mean(np.abs(step) < 0.5) == pytest.approx(0.6827, abs=0.01)  # one standard deviation


def test_uniform_noise_covers_the_range():
    observed = target_uniform(VALUES, 1, 0.4, generator())
    moved = observed != VALUES
    assert moved.sum() == pytest.approx(40_000, abs=3)  # a draw may hit the value itself
    drawn = (observed[moved] - VALUES.min()) / np.ptp(VALUES)
    assert np.histogram(drawn, bins=10, range=(0, 1))[0] / len(drawn) == pytest.approx([0.1] * 10, abs=0.007)


@pytest.mark.parametrize("noise", [target_gaussian, target_uniform])
def test_each_value_by_itself(noise):
    moved = (noise(VALUES, 1, 0.3, generator(), exact=False) != VALUES).mean()
    assert moved == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 100_000)) and moved != 0.3


@pytest.mark.parametrize("noise, clean", [(label_flip, LABELS), (target_gaussian, VALUES), (target_uniform, VALUES)])
def test_the_generator_alone_decides(noise, clean):
    first, again, other = (noise(clean, 10, 0.2, generator(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(noise(clean, 10, 0.0, generator()), clean)
    with pytest.raises(ValueError, match=r"rate is 1; it must lie in \[0, 1\)"):
        noise(clean, 10, 1, generator())


def test_gaussian_noise_refuses_a_size_of_zero():
    with pytest.raises(ValueError, match="scale is 0; it must be > 0"):
        target_gaussian(VALUES, 1, 0.1, generator(), scale=0)


@pytest.mark.parametrize("clean", [LABELS, VALUES])
def test_no_noise_keeps_labels_and_values(clean):
    observed = none(clean, 10, generator())
    assert np.array_equal(observed, clean) and observed.dtype == clean.dtype and observed is not clean
