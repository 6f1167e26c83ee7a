"""Asymmetric noises of papers: their exact matrices, and how many labels they make wrong."""

import numpy as np
import pytest

from lilawbench import noise
from lilawbench.config import bind
from lilawbench.noise.blocks import blocks

CIFAR100, CIFAR10 = np.repeat(np.arange(100), 10), np.repeat(np.arange(10), 100)


def matrix(clean, observed, num_classes):
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (clean, observed), 1)
    return counts / counts.sum(1, keepdims=True)


def observe(composing, name, clean, seed=0, *options):
    node = composing(f"noise={name}", *options).noise
    return bind(node)(clean, clean.max() + 1, generator=np.random.default_rng(seed))


def next_in_block(label):
    return label - label % 5 + (label + 1) % 5


def test_elr_moves_each_class_to_the_next_of_its_block(composing):
    observed = observe(composing, "asymmetric_elr_cifar100", CIFAR100)
    expected = 0.6 * np.eye(100) + 0.4 * np.eye(100)[next_in_block(np.arange(100))]
    np.testing.assert_allclose(matrix(CIFAR100, observed, 100), expected)
    assert (observed != CIFAR100).mean() == 0.4
    flipped = observe(composing, "pairflip", CIFAR100)
    crossing = np.unique(CIFAR100[flipped // 5 != CIFAR100 // 5])
    np.testing.assert_array_equal(crossing, np.arange(4, 100, 5))  # 20 classes leave their block by pair flip


@pytest.mark.parametrize("seed", [0, 1])
def test_sop_swaps_two_classes_of_each_block(composing, seed):
    """.4 of 2 in 5: 16 % of all labels are wrong."""
    observed = observe(composing, "asymmetric_sop_cifar100", CIFAR100, seed)
    found = matrix(CIFAR100, observed, 100)
    assert (observed != CIFAR100).mean() == pytest.approx(0.16)
    np.testing.assert_allclose(found, found.T)
    for start in range(0, 100, 5):
        block = found[start : start + 5, start : start + 5]
        np.testing.assert_allclose(block.sum(1), 1)
        np.testing.assert_allclose(np.sort(block[~np.eye(5, dtype=bool)]), [0] * 18 + [0.4] * 2)


def test_the_seed_draws_which_classes_swap(composing):
    swapped = {
        tuple(np.unique(CIFAR100[observe(composing, "asymmetric_sop_cifar100", CIFAR100, seed) != CIFAR100]))
        for seed in range(3)
    }
    assert len(swapped) == 3


def test_cifar10_look_alikes_are_a_fifth_of_all_labels(composing):
    observed = observe(composing, "asymmetric_cifar10", CIFAR10)
    expected = np.eye(10)
    for clean, other in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
        expected[clean, clean], expected[clean, other] = 0.6, 0.4
    np.testing.assert_allclose(matrix(CIFAR10, observed, 10), expected)
    assert (observed != CIFAR10).mean() == 0.2


def test_pair_flip_is_asymmetric_noise_without_pairs(composing):
    flipped = observe(composing, "pairflip", CIFAR10, 3, "noise.rate=0.45")
    np.testing.assert_array_equal(flipped, noise.asymmetric(CIFAR10, 10, 0.45, np.random.default_rng(3)))
    np.testing.assert_array_equal(np.unique((flipped - CIFAR10) % 10), [0, 1])
    assert (flipped != CIFAR10).mean() == 0.45


@pytest.mark.parametrize("moves, wrong", [("next", 0.3), ("swap", 0.3 * 2 / 5)])
def test_independent_draws_have_the_rate_in_the_mean(moves, wrong):
    """4 standard errors of a share of 1e5 labels."""
    clean = np.arange(100_000) % 10
    observed = blocks(clean, 10, 0.3, np.random.default_rng(0), moves, exact=False)
    share = (observed != clean).mean()
    assert share != wrong and abs(share - wrong) < 4 * np.sqrt(wrong * (1 - wrong) / 1e5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"moves": "last"}, "moves is 'last'; it must be one of next, swap"),
        ({"size": 3}, "size is 3; it must be >= 2 and divide the 10 classes"),
        ({"size": 1}, "size is 1"),
        ({"rate": 1.0}, r"rate is 1.0; it must lie in \[0, 1\)"),
    ],
)
def test_blocks_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        blocks(CIFAR10, 10, generator=np.random.default_rng(0), **{"rate": 0.4, **options})
