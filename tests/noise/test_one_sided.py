"""One-sided noise: its transition matrix over 1e5 labels in both readings of the rate, RRM E.3 by hand, invariances."""

import numpy as np
import pytest

from lilawbench.noise import OneSided
from lilawbench.support.errors import ConfigError
from lilawbench.train import run

N = 100_000
CLEAN = np.random.default_rng(0).choice(3, size=N, p=[0.5, 0.2, 0.3])
both_counts = pytest.mark.parametrize("exact", [True, False], ids=["exact", "bernoulli"])


def generator(seed=1):
    return np.random.default_rng(seed)


def test_rrm_e3_by_hand():
    """Of 3,156 images labelled necrotic 789 are: three wrong ones to each right one, and 3,156 labelled healthy."""
    clean = np.repeat([1, 0], [789, 5523])
    observed = OneSided(0.75)(clean, 2, generator())
    assert np.bincount(observed).tolist() == [3156, 3156]
    assert clean[observed == 1].sum() == 789 and clean[observed == 0].sum() == 0
    assert (observed != clean).mean() == 0.375


@both_counts
@pytest.mark.parametrize("positive", [0, 1, 2])
@pytest.mark.parametrize("rate_of", ["positives", "negatives"])
def test_transition_matrix_is_recovered(rate_of, positive, exact):
    """Rate .3; of the positives: their number times 3/7 moves."""
    counts = np.bincount(CLEAN)
    rate = 0.3 if rate_of == "negatives" else counts[positive] * 3 / 7 / (N - counts[positive])
    matrix = (1 - rate) * np.eye(3)
    matrix[:, positive] += rate
    observed = OneSided(0.3, rate_of, positive, exact)(CLEAN, 3, generator())
    seen = np.bincount(CLEAN * 3 + observed, minlength=9).reshape(3, 3)
    sigma = np.sqrt(counts[:, None] * matrix * (1 - matrix))
    assert (np.abs(seen - counts[:, None] * matrix) <= 4 * sigma + 1e-6).all()
    if rate_of == "positives":
        wrong = np.mean(CLEAN[observed == positive] != positive)
        assert wrong == pytest.approx(0.3, abs=1e-4 if exact else 0.01)
    elif exact:
        assert (observed != CLEAN).sum() == int(0.3 * (N - counts[positive]))


@both_counts
def test_clean_is_not_modified_and_a_seed_gives_the_same_labels(exact):
    clean = CLEAN.copy()
    clean.setflags(write=False)
    noise = OneSided(0.4, exact=exact)
    first = noise(clean, 3, generator())
    assert first.dtype == np.int64 and not np.shares_memory(first, clean)
    np.testing.assert_array_equal(first, noise(clean, 3, generator()))
    assert (first != noise(clean, 3, generator(2))).any()
    rows = np.flatnonzero(first != clean)
    where = np.flatnonzero(clean != 1).mean()  # changed labels lie anywhere among the others
    assert abs(rows.mean() - where) <= 4 * N / np.sqrt(12 * len(rows))
    np.testing.assert_array_equal(OneSided(0.0, exact=exact)(clean, 3, generator()), clean)


def test_classes_may_be_empty():
    none, ones, zeros = np.zeros(0, np.int64), np.ones(10, np.int64), np.zeros(10, np.int64)
    assert OneSided(0.5, "negatives")(ones, 2, generator()).sum() == 10
    assert OneSided(0.5, "negatives")(zeros, 2, generator()).sum() == 5
    assert OneSided(0.5, "positives")(zeros, 2, generator()).sum() == 0
    assert len(OneSided(0.5)(none, 2, generator())) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rate": 1}, r"rate is 1; it must lie in \[0, 1\)"),
        ({"rate": 0.5, "rate_of": "all"}, "rate_of is 'all'; it must be positives or negatives"),
        ({"rate": 0.5, "positive": -1}, "positive is -1; it must be the number of a class"),
        ({"rate": 0.5, "positive": "yes"}, "positive is yes; it must be the number of a class"),
        ({"rate": 0.5, "positive": 3}, r"positive is 3; the data set has the classes 0\.\.2"),
        ({"rate": 0.9}, "asks for 9 rows of other classes besides 1 of class 1; there are 2: lower the rate"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        OneSided(**options)(np.arange(3), 3, generator())


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match=r"labels run from 0 to 7; they must lie in 0\.\.2"):
        OneSided(0.3)(np.array([0, 7]), 3, generator())


def test_what_only_the_data_can_tell_is_a_config_error(tiny):
    with pytest.raises(ConfigError, match=r"noise=one_sided: rate 0\.99 of the positives asks for 14454 rows"):
        run(tiny("noise=one_sided", "noise.rate=0.99"))
