"""Streams depend on the seed and the purpose alone, on every machine."""

import hashlib
import random
from itertools import product

import numpy as np
import pytest
import torch

from lilawbench.support.seeding import derive, derive_seed, derive_torch, seed_global


def test_derived_seed_is_the_first_63_bits_of_the_hash():
    """Pinned: a change here changes the labels, splits and weights of every run."""
    assert derive_seed(3, "order", 2) == int(hashlib.sha256(b"3/order/2").hexdigest()[:16], 16) // 2
    assert derive_seed(0, "noise") == 5127903134280592399


def test_seeds_of_different_purposes_differ():
    purposes = list(product(range(20), ("order", "meta", "augment"), range(20)))
    seeds = [derive_seed(*purpose) for purpose in purposes]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= value < 2**63 for value in seeds)


@pytest.mark.parametrize(
    "draw",
    [
        lambda *purpose: derive(*purpose).random(4).tolist(),
        lambda *purpose: torch.rand(4, generator=derive_torch(*purpose)).tolist(),
    ],
    ids=["numpy", "torch"],
)
def test_a_generator_repeats_and_ignores_the_global_streams(draw):
    first = draw(1, "order", 2)
    torch.rand(3), np.random.random(3)
    assert draw(1, "order", 2) == first
    others = [draw(2, "order", 2), draw(1, "order", 3), draw(1, "meta", 2)]
    assert len({tuple(values) for values in [first, *others]}) == 4


def test_generators_leave_the_global_streams_alone():
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    derive(0, "x").random(3)
    torch.rand(3, generator=derive_torch(0, "x"))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)


def test_seed_global_seeds_python_numpy_and_torch():
    def draw(*purpose):
        seed_global(*purpose)
        return random.random(), np.random.random(), torch.rand(()).item()

    first, other = draw(5, "init"), draw(5, "train", 1)
    assert draw(5, "init") == first
    assert all(a != b for a, b in zip(first, other, strict=True))
