"""Instance-dependent noise: the softmax of known projections recovered over 1e5 draws, its rate, and invariances."""

from statistics import NormalDist

import numpy as np
import pytest
import torch

from lilawbench.config import build
from lilawbench.noise import Instance
from lilawbench.noise.instance import draw_other
from lilawbench.pipeline import draw_labels
from lilawbench.support.seeding import derive
from lilawbench.train import run

K, N = 4, 100_000
PROTOTYPES = torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 0.0]])
PROJECTIONS = np.random.default_rng(5).normal(size=(K, 2, K))


class Known(np.random.Generator):
    """A generator that gives the projections of the test."""

    def __init__(self, seed=1):
        super().__init__(np.random.PCG64(seed))
        self.left = list(PROJECTIONS)

    def standard_normal(self, size):
        assert size == (2, K)
        return self.left.pop(0)


def generator(seed=1):
    return np.random.default_rng(seed)


def lifted(rate, std=0.1):
    """Mean of the normal around rate, truncated to [0, 1]."""
    normal, low, high = NormalDist(), -rate / std, (1 - rate) / std
    return rate + std * (normal.pdf(low) - normal.pdf(high)) / (normal.cdf(high) - normal.cdf(low))


def test_other_classes_follow_the_softmax_by_hand():
    """exp(score) = 1, 2, 3, 4 without class 1: 1/8, 3/8, 4/8."""
    drawn = draw_other(np.tile(np.log([1.0, 2.0, 3.0, 4.0]), (N, 1)), 1, generator())
    expected = N * np.array([1, 0, 3, 4]) / 8
    assert (np.abs(np.bincount(drawn, minlength=4) - expected) <= 4 * np.sqrt(expected)).all()


def test_transition_matrix_of_each_input_is_recovered():
    """12 matrices' rows, one per input and class: 1 - rate on the diagonal, rate * softmax(x W_y) beside it."""
    kind, clean = np.arange(N) % 3, np.arange(N) // 3 % K
    observed = Instance(0.4)(clean, K, Known(), PROTOTYPES[kind].__getitem__)
    for x in range(3):
        for own in range(K):
            seen = np.bincount(observed[(kind == x) & (clean == own)], minlength=K)
            share = np.exp(PROTOTYPES[x].numpy() @ PROJECTIONS[own])
            share[own] = 0
            share = 0.4 * share / share.sum()
            share[own] = 0.6
            assert (np.abs(seen - seen.sum() * share) <= 4.5 * np.sqrt(seen.sum() * share * (1 - share))).all()


def test_without_an_input_it_is_symmetric():
    clean = np.arange(N) % K
    observed = Instance(0.4)(clean, K, generator(), torch.zeros(N, 3).__getitem__)
    shares = np.bincount(clean * K + observed, minlength=K * K).reshape(K, K) / (N / K)
    np.testing.assert_allclose(shares, 0.6 * np.eye(K) + 0.4 / 3 * (1 - np.eye(K)), atol=0.013)


@pytest.mark.parametrize("rate, std", [(0.1, 0.1), (0.2, 0.1), (0.3, 0.1), (0.45, 0.1), (0.1, 0.01), (0.9, 0.1)])
def test_realised_rate_is_the_mean_of_the_truncated_normal(rate, std):
    """.129 at .1, the trap of the generator; .871 at .9; what was asked for in between or with a small std."""
    clean = np.arange(N) % K
    moved = (Instance(rate, std)(clean, K, generator(), torch.zeros(N, 1).__getitem__) != clean).mean()
    expected = lifted(rate, std)
    assert abs(moved - expected) <= 4 * np.sqrt(expected * (1 - expected) / N)
    assert abs(expected - {(0.1, 0.1): 0.1288, (0.2, 0.1): 0.2055, (0.9, 0.1): 0.8712}.get((rate, std), rate)) < 5e-4


def test_alike_images_move_to_the_same_class_and_others_do_not():
    """Bytes 0..255: projections are far apart, so the largest one takes all."""
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clean, which = np.arange(2000) % 10, np.arange(2000) // 1000
    observed = Instance(0.5)(clean, 10, generator(), images[which].__getitem__)
    moved = observed != clean
    targets = [set(observed[moved & (clean == k) & (which == w)]) for k in range(10) for w in (0, 1)]
    assert all(len(target) == 1 for target in targets)
    assert sum(targets[i] != targets[i + 1] for i in range(0, 20, 2)) >= 2


def test_clean_and_inputs_are_not_modified_and_a_seed_gives_the_same_labels():
    clean = np.arange(9000) % 2  # more rows of a class than are looked at in one go
    clean.setflags(write=False)
    inputs = torch.rand(9000, 3)
    before = inputs.clone()
    first = Instance(0.4)(clean, K, generator(), inputs.__getitem__)
    assert first.dtype == np.int64 and not np.shares_memory(first, clean)
    np.testing.assert_array_equal(first, Instance(0.4)(clean, K, generator(), inputs.__getitem__))
    assert (first != Instance(0.4)(clean, K, generator(2), inputs.__getitem__)).any()
    assert torch.equal(inputs, before)
    np.testing.assert_array_equal(Instance(0.0)(clean, K, generator(), inputs.__getitem__), clean)
    assert len(Instance(0.4)(np.zeros(0, np.int64), K, generator(), torch.zeros(0, 3).__getitem__)) == 0


def test_bad_options_and_labels():
    with pytest.raises(ValueError, match=r"rate is 1; it must lie in \[0, 1\)"):
        Instance(1)
    with pytest.raises(ValueError, match="std is 0; it must be > 0"):
        Instance(0.4, 0)
    with pytest.raises(ValueError, match="1 class leaves no other class"):
        Instance(0.4)(np.zeros(2, np.int64), 1, generator(), torch.zeros(2, 1).__getitem__)
    with pytest.raises(ValueError, match=r"labels run from 0 to 7; they must lie in 0\.\.3"):
        Instance(0.4)(np.array([0, 7]), K, generator(), torch.zeros(2, 1).__getitem__)


def test_a_run_hands_it_the_stored_inputs(tiny):
    cfg = tiny("noise=instance", "train.epochs=1", "seed=3")
    source = build(cfg.dataset).source(None, generator())
    expected = Instance(0.4)(source.train_clean, 10, derive(3, "noise"), source.train_input.__getitem__)
    np.testing.assert_array_equal(draw_labels(cfg, source).observed, expected)
    result = run(cfg).result
    assert result["noise.requested_rate"] == 0.4
    assert result["noise.realised_rate"] == (expected != source.train_clean).mean() == pytest.approx(0.4, abs=0.05)
