"""Largest remainders: worked examples, and what holds for any quotas."""

import numpy as np
import pytest

from lilawbench.support.apportion import apportion


@pytest.mark.parametrize(
    "quotas, counts",
    [
        ([4.7, 1.6, 1.58, 1.2, 0.61, 0.31], [5, 2, 1, 1, 1, 0]),  # ten seats, Hare quota: the textbook case
        ([2.0, 3.0, 5.0], [2, 3, 5]),
        ([0.29 * 100, 0.71 * 100], [29, 71]),  # 28.999999999999996
        ([1 / 3, 1 / 3, 1 / 3], [1, 0, 0]),  # ties to the first
        ([0.5, 1.5], [1, 1]),
        ([0.5, 0.25] * 20, [1, 0] * 15 + [0, 0] * 5),
        ([0.0, 0.0], [0, 0]),
        ([0.2, 0.2], [0, 0]),
    ],
)
def test_worked_examples(quotas, counts):
    assert apportion(np.array(quotas)).tolist() == counts


@pytest.mark.parametrize("seed", range(20))
def test_counts_add_up_and_lie_within_one_of_their_quota(seed):
    random = np.random.default_rng(seed)
    total = int(random.integers(1, 1000))
    quotas = total * random.dirichlet(np.full(random.integers(1, 30), 0.5))
    counts = apportion(quotas)
    assert counts.dtype == np.int64
    assert counts.sum() == total
    assert (np.abs(counts - quotas) < 1).all() and (counts >= 0).all()


def test_quotas_are_not_modified():
    quotas = np.array([0.5, 0.5])
    apportion(quotas)
    assert quotas.tolist() == [0.5, 0.5]
