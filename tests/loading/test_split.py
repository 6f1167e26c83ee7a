"""Stratified splits: counts, shares, and what the rows depend on."""

import numpy as np
import pytest

from lilawbench.loading.split import stratified

LABELS = np.random.default_rng(0).choice(6, size=1438, p=[0.5, 0.2, 0.15, 0.1, 0.045, 0.005])


def generator(seed=1):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.1, 0.15, 0.3, 0.5, 1.0])
def test_counts_are_exact_and_every_class_keeps_its_share(fraction):
    first, second = stratified(LABELS, fraction, generator())
    assert len(second) == round(fraction * 1438) and len(first) + len(second) == 1438
    taken = np.bincount(LABELS[second], minlength=6)
    assert (np.abs(taken - fraction * np.bincount(LABELS)) < 1).all()


def test_parts_are_disjoint_sorted_and_complete():
    first, second = stratified(LABELS, 0.15, generator())
    assert first.dtype == second.dtype == np.int64
    assert (np.diff(first) > 0).all() and (np.diff(second) > 0).all()
    assert sorted([*first, *second]) == list(range(1438))


def test_rows_depend_on_the_generator_and_the_labels_alone():
    before = LABELS.copy()
    first, again, other = (stratified(LABELS, 0.15, generator(seed))[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(np.intersect1d(first, other)) < 0.4 * len(first)  # 15 % by chance
    np.testing.assert_array_equal(LABELS, before)


def test_rows_of_a_class_are_drawn_from_everywhere():
    """Not its first ones: over 400 seeds each of 20 rows is drawn about 400 / 4 times."""
    drawn = np.concatenate([stratified(np.zeros(20, np.int64), 0.25, generator(seed))[1] for seed in range(400)])
    counts = np.bincount(drawn, minlength=20)
    assert counts.sum() == 2000
    assert np.abs(counts - 100).max() <= 4 * np.sqrt(400 * 0.25 * 0.75)


@pytest.mark.parametrize(
    "sizes, fraction, taken",
    [
        ([1, 1, 98], 0.15, [0, 0, 15]),  # too small to give one
        ([1, 9, 90], 0.1, [0, 1, 9]),  # quotas 0.1, 0.9, 9.0
        ([2, 2, 2], 0.5, [1, 1, 1]),
        ([3, 3, 4], 0.5, [2, 1, 2]),  # 1.5, 1.5, 2: the first of a tie
        ([0, 5, 5], 0.2, [0, 1, 1]),  # a class without rows
    ],
)
def test_tiny_classes(sizes, fraction, taken):
    labels = np.repeat(np.arange(3), sizes)
    _, second = stratified(labels, fraction, generator())
    assert np.bincount(labels[second], minlength=3).tolist() == taken


def test_several_labels_are_stratified_by_their_number_and_values_by_tenths():
    labels = (np.random.default_rng(0).random((1000, 6)) < 0.3).astype(np.int64)
    _, second = stratified(labels, 0.2, generator())
    counts = np.bincount(labels.sum(axis=1), minlength=7)
    assert np.abs(np.bincount(labels[second].sum(axis=1), minlength=7) - 0.2 * counts).max() < 1
    values = np.random.default_rng(0).exponential(size=1000)
    _, second = stratified(values, 0.2, generator())
    assert np.bincount(np.searchsorted(np.sort(values), values[second]) // 100).tolist() == [20] * 10


def test_equal_values_still_split_exactly():
    first, second = stratified(np.zeros(37), 0.3, generator())
    assert (len(first), len(second)) == (26, 11) and len(set(first) | set(second)) == 37
