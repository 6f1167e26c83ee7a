"""Label noise over 1e5 labels: rates, transition matrices and invariances."""

import numpy as np
import pytest

from lilawbench import noise
from lilawbench.config import bind
from lilawbench.noise import class_frequency, kernel, transition

K, N, RATE = 5, 100_000, 0.4
SHARES = [0.1, 0.15, 0.2, 0.25, 0.3]
CLEAN = np.random.default_rng(0).choice(K, size=N, p=SHARES)
PAIRS = {4: 1, 2: 0, 3: 1}
MATRIX = [
    [0.7, 0.1, 0.1, 0.05, 0.05],
    [0.0, 1.0, 0.0, 0.0, 0.0],
    [0.3, 0.3, 0.4, 0.0, 0.0],
    [0.2, 0.2, 0.2, 0.2, 0.2],
    [0.0, 0.001, 0.0, 0.0, 0.999],
]
KERNEL = [
    [0.0, 1.0, 0.0, 0.0, 0.0],
    [0.25, 0.0, 0.25, 0.25, 0.25],
    [0.5, 0.0, 0.0, 0.5, 0.0],
    [0.1, 0.2, 0.3, 0.0, 0.4],
    [0.05, 0.05, 0.0, 0.9, 0.0],
]


def generator(seed=1):
    return np.random.default_rng(seed)


def pair_matrix(pairs):
    matrix = np.eye(K)
    for i, j in pairs.items():
        matrix[i, i], matrix[i, j] = 1 - RATE, RATE
    return matrix


OTHERS = (1 - np.eye(K)) / (K - 1)
# name -> (function, its options, the transition matrix it must follow)
KINDS = {
    "symmetric": (noise.symmetric, {"rate": RATE}, (1 - RATE) * np.eye(K) + RATE * OTHERS),
    "symmetric_inclusive": (noise.symmetric_inclusive, {"rate": RATE}, (1 - RATE) * np.eye(K) + RATE / K),
    "class_frequency": (
        noise.class_frequency,
        {"rate": RATE},
        (1 - RATE) * np.eye(K) + RATE * np.bincount(CLEAN) / N,
    ),
    "kernel": (noise.kernel, {"rate": RATE, "kernel": KERNEL}, (1 - RATE) * np.eye(K) + RATE * np.array(KERNEL)),
    "asymmetric": (noise.asymmetric, {"rate": RATE, "pairs": PAIRS}, pair_matrix(PAIRS)),
    "pair_flip": (noise.asymmetric, {"rate": RATE}, pair_matrix({i: (i + 1) % K for i in range(K)})),
    "transition": (noise.transition, {"matrix": MATRIX}, np.array(MATRIX)),
}
EVERY = {
    **{name: (function, options) for name, (function, options, _) in KINDS.items()},
    "dirichlet": (noise.dirichlet, {"rate": RATE}),
}
both_counts = pytest.mark.parametrize("exact", [True, False], ids=["exact", "bernoulli"])


def counts(clean, observed, classes=K):
    """[i, j] = how many labels i became j."""
    return np.bincount(clean * classes + observed, minlength=classes**2).reshape(classes, classes)


@both_counts
@pytest.mark.parametrize("function, options, matrix", KINDS.values(), ids=KINDS)
def test_transition_matrix_is_recovered(function, options, matrix, exact):
    observed = function(CLEAN, K, generator=generator(), exact=exact, **options)
    assert observed.dtype == np.int64 and observed.shape == CLEAN.shape
    per_class = np.bincount(CLEAN)[:, None]
    sigma = np.sqrt(per_class * matrix * (1 - matrix))
    assert (np.abs(counts(CLEAN, observed) - per_class * matrix) <= 4 * sigma + 1e-6).all()


@both_counts
@pytest.mark.parametrize("function, options, matrix", KINDS.values(), ids=KINDS)
def test_realised_rate(function, options, matrix, exact):
    observed = function(CLEAN, K, generator=generator(2), exact=exact, **options)
    rate = 1 - np.diag(matrix)[CLEAN].mean()
    assert abs((observed != CLEAN).mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / N)


@pytest.mark.parametrize(
    "rate, count, moved",
    [(0.29, 100, 29), (0.57, 100, 57), (0.4, 1438, 575), (0.0, 100, 0), (0.999, 100, 99), (0.1, 9, 0), (0.5, 0, 0)],
)
def test_exact_symmetric_moves_int_rate_n_labels(rate, count, moved):
    """0.29 * 100 and 0.57 * 100 fall short of 29 and 57 in floating point."""
    clean = CLEAN[:count]
    assert (noise.symmetric(clean, K, rate, generator()) != clean).sum() == moved


@both_counts
@pytest.mark.parametrize("function, options", EVERY.values(), ids=EVERY)
def test_changed_labels_lie_anywhere_in_the_table(function, options, exact):
    """Their mean row is the middle one, whatever their class: noise does not depend on the order of the rows."""
    rows = np.flatnonzero(function(CLEAN, K, generator=generator(), exact=exact, **options) != CLEAN)
    assert abs(rows.mean() - N / 2) <= 4 * N / np.sqrt(12 * len(rows))


def test_bernoulli_counts_vary_with_the_seed_and_exact_ones_do_not():
    def moved(exact):
        return {int((noise.symmetric(CLEAN, K, RATE, generator(s), exact) != CLEAN).sum()) for s in range(5)}

    assert moved(exact=True) == {40_000}
    assert len(moved(exact=False)) > 1


def test_inclusive_rate_is_rate_times_k_minus_1_over_k():
    """The trap: 50 % "symmetric" noise over ten classes is 45 %."""
    clean = np.arange(N) % 10
    realised = (noise.symmetric_inclusive(clean, 10, 0.5, generator()) != clean).mean()
    assert abs(realised - 0.45) <= 4 * np.sqrt(0.45 * 0.55 / N)
    assert abs((noise.symmetric(clean, 10, 0.5, generator()) != clean).mean() - 0.5) < 1e-12


@both_counts
@pytest.mark.parametrize("imbalance, wrong", [(1, 0.9), (10, 0.8514), (100, 0.7466)])
def test_class_frequency_noise_falls_short_of_its_rate(imbalance, wrong, exact):
    """wrong = 1 - sum f^2 over ten classes: half of the labels drawn anew leave .45, .43 and .37 of them wrong."""
    sizes = imbalance ** (-np.arange(10) / 9)
    clean = np.repeat(np.arange(10), np.round(N * sizes / sizes.sum()).astype(int))
    observed = class_frequency(clean, 10, 0.5, generator(), exact)
    share = 0.5 * wrong
    assert abs((observed != clean).mean() - share) <= 4 * np.sqrt(share * (1 - share) / len(clean)) + 1e-4
    kept = np.bincount(observed) / np.bincount(clean)
    assert (np.abs(kept - 1) <= 5 / np.sqrt(np.bincount(clean))).all()  # the long tail stays


def test_exact_counts_of_kernel_and_class_frequency():
    """int(rate N) over all classes, not per class; a redraw may give the own class."""
    clean = np.arange(1438) % K
    moved = [np.bincount(clean[kernel(clean, K, 0.4, generator(s), KERNEL) != clean], minlength=K) for s in range(20)]
    assert {m.sum() for m in moved} == {575}
    assert np.std([m[0] for m in moved]) > 2
    one_class = np.zeros(100, np.int64)
    assert (class_frequency(one_class, K, 0.9, generator()) == 0).all()
    assert kernel(one_class, K, 0.9, generator(), KERNEL).sum() == 90  # row 0 leads to class 1 alone


def test_kernel_of_the_yaml_is_rrms_table_9(composed):
    """Row 5 as the text quotes it; the table is recovered from 1e5 labels, of which exactly .2 move."""
    node = composed("noise=kernel", "noise.rate=0.2").noise
    table = np.array(node.kernel)
    assert table[5].round(3).tolist() == [0.051, 0.017, 0, 0.627, 0.017, 0, 0.152, 0, 0.102, 0.034]
    assert table.shape == (10, 10) and not np.diag(table).any()
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=4e-4)
    assert (table[:, 9] > 0).tolist() == [True, False, False, False, True, True, False, True, True, False]
    clean = np.arange(N) % 10
    observed = bind(node)(clean, 10, generator=generator())
    assert (observed != clean).sum() == 20_000
    moved = counts(clean, observed, 10) * (1 - np.eye(10, dtype=int))
    expected = 2000 * table / table.sum(axis=1, keepdims=True)
    assert (np.abs(moved - expected) <= 4.5 * np.sqrt(np.maximum(expected, 0))).all()


@both_counts
def test_asymmetric_moves_pairs_only(exact):
    observed = noise.asymmetric(CLEAN, K, RATE, generator(), PAIRS, exact)
    moved = observed != CLEAN
    assert set(zip(CLEAN[moved].tolist(), observed[moved].tolist(), strict=True)) == set(PAIRS.items())
    assert not moved[np.isin(CLEAN, [0, 1])].any()


def test_asymmetric_takes_class_names_as_yaml_gives_them():
    observed = noise.asymmetric(CLEAN, K, RATE, generator(), {"4": "1"})
    np.testing.assert_array_equal(observed, noise.asymmetric(CLEAN, K, RATE, generator(), {4: 1}))


@pytest.mark.parametrize("name", ["asymmetric", "pair_flip", "transition"])
def test_exact_noise_splits_each_class_to_within_one_label(name):
    function, options, matrix = KINDS[name]
    clean = CLEAN[:1437]
    observed = function(clean, K, generator=generator(), **options)
    quotas = np.bincount(clean)[:, None] * matrix
    assert (np.abs(counts(clean, observed) - quotas) < 1).all()


def test_exact_transition_of_one_class_by_hand():
    """Ten labels at (0.5, 0.3, 0.2): five stay, three and two move."""
    observed = noise.transition(np.zeros(10, np.int64), 3, [[0.5, 0.3, 0.2], [0, 1, 0], [0, 0, 1]], generator())
    assert np.bincount(observed).tolist() == [5, 3, 2]
    assert observed.tolist() != sorted(observed.tolist())  # which ones is random


def test_dirichlet_keeps_the_rate_and_differs_per_class():
    observed = noise.dirichlet(CLEAN, K, RATE, generator())
    per_class = np.bincount(CLEAN)
    table = counts(CLEAN, observed) / per_class[:, None]
    np.testing.assert_allclose(np.diag(table), 1 - RATE, atol=2 / per_class.min())
    others = np.sort(table + np.diag(np.full(K, np.nan)))[:, : K - 1]  # proportions over the other classes
    gaps = [np.abs(others[i] - others[j]).max() for i in range(K) for j in range(i)]
    assert min(gaps) > 0.01
    assert np.abs(others - RATE / (K - 1)).max() > 0.05


def test_dirichlet_matrix_depends_on_the_generator_alone():
    """Exact counts show the matrix to within a label; the same seed must give it for other labels, too."""
    other = np.random.default_rng(9).choice(K, size=N)
    first = counts(CLEAN, noise.dirichlet(CLEAN, K, RATE, generator())) / np.bincount(CLEAN)[:, None]
    again = counts(other, noise.dirichlet(other, K, RATE, generator())) / np.bincount(other)[:, None]
    np.testing.assert_allclose(first, again, atol=3e-4)
    bernoulli = counts(CLEAN, noise.dirichlet(CLEAN, K, RATE, generator(), exact=False))
    per_class = np.bincount(CLEAN)[:, None]
    assert (np.abs(bernoulli - per_class * first) <= 4 * np.sqrt(per_class * first * (1 - first)) + 2).all()
    different = counts(CLEAN, noise.dirichlet(CLEAN, K, RATE, generator(3))) / per_class
    assert np.abs(different - first).max() > 0.02


def test_dirichlet_concentration():
    per_class = np.bincount(CLEAN)[:, None]
    flat = counts(CLEAN, noise.dirichlet(CLEAN, K, RATE, generator(), concentration=1e6)) / per_class
    np.testing.assert_allclose(flat, KINDS["symmetric"][2], atol=2e-3)
    peaked = counts(CLEAN, noise.dirichlet(CLEAN, K, RATE, generator(), concentration=1e-3)) / per_class
    np.testing.assert_allclose((peaked * (1 - np.eye(K))).max(axis=1), RATE, atol=2e-3)  # one look-alike each


@both_counts
@pytest.mark.parametrize("function, options", EVERY.values(), ids=EVERY)
def test_clean_is_not_modified_and_a_seed_gives_the_same_labels(function, options, exact):
    clean = CLEAN.copy()
    clean.setflags(write=False)
    first = function(clean, K, generator=generator(), exact=exact, **options)
    assert not np.shares_memory(first, clean)
    np.testing.assert_array_equal(first, function(clean, K, generator=generator(), exact=exact, **options))
    assert (first != function(clean, K, generator=generator(7), exact=exact, **options)).any()
    np.testing.assert_array_equal(clean, CLEAN)


@both_counts
@pytest.mark.parametrize("function, options", EVERY.values(), ids=EVERY)
def test_classes_may_be_empty(function, options, exact):
    clean = np.full(50, 3)
    observed = function(clean, K, generator=generator(), exact=exact, **options)
    assert observed.shape == (50,) and set(observed) <= set(range(K))


def test_none_copies():
    observed = noise.none(CLEAN, K, generator())
    np.testing.assert_array_equal(observed, CLEAN)
    assert not np.shares_memory(observed, CLEAN)


def test_kernel_rows_of_a_printed_table_are_normalised():
    """0.9991 of 1: drawn as 0.1 / 0.9991 and 0.8991 / 0.9991."""
    printed = [*KERNEL[:4], [0.1, 0, 0, 0.8991, 0]]
    observed = kernel(np.full(N, 4), K, 0.5, generator(), printed)
    expected = 50_000 * 0.1 / 0.9991
    assert np.bincount(observed, minlength=K)[[1, 2]].tolist() == [0, 0] and (observed != 4).sum() == 50_000
    assert abs((observed == 0).sum() - expected) <= 4 * np.sqrt(expected * 0.9)


def test_matrix_rows_may_be_off_by_rounding():
    third = [[0.333333, 0.333333, 0.333334], [0, 1, 0], [0, 0, 1]]
    observed = noise.transition(np.zeros(300, np.int64), 3, third, generator(), exact=False)
    assert len(np.unique(observed)) == 3


def test_ties_in_exact_counts_favour_no_class():
    """20 rows a class, 40 % to 100 classes evenly: 8 labels a row move; without the lot all went to classes 0-8."""
    clean = np.repeat(np.arange(100), 20)
    matrix = np.full((100, 100), 0.4 / 99) + np.eye(100) * (0.6 - 0.4 / 99)
    observed = transition(clean, 100, matrix, np.random.default_rng(0))
    moved = np.bincount(observed[observed != clean], minlength=100)
    assert moved.sum() == 800 and moved.max() < 25 and (moved > 0).sum() > 95
