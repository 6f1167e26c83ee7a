"""Targets that are probabilities, against torch's own functions and hand-worked numbers, in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from lilawbench.methods.parts.mixing import Mixer
from lilawbench.methods.parts.soft_targets import negative_entropy, one_hot, ramp, sharpened, soft_ce, towards_uniform

LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PROBS = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(1)


def test_soft_cross_entropy_is_torchs():
    torch.testing.assert_close(soft_ce(LOGITS, PROBS), F.cross_entropy(LOGITS, PROBS, reduction="none"))
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    hard = soft_ce(LOGITS, one_hot(labels, LOGITS))
    torch.testing.assert_close(hard, F.cross_entropy(LOGITS, labels, reduction="none"))


def test_sharpening_of_one_half_squares():
    """(.6, .3, .1) -> (.36, .09, .01) / .46; an impossible class stays so."""
    squares = torch.tensor([[0.36, 0.09, 0.01]], dtype=torch.float64) / 0.46
    torch.testing.assert_close(sharpened(torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64), 0.5), squares)
    torch.testing.assert_close(sharpened(PROBS, 1.0), PROBS)
    assert sharpened(torch.tensor([[1.0, 0.0]])).tolist() == [[1.0, 0.0]]


def test_entropy_and_prior_are_those_of_torch_distributions():
    entropy = torch.distributions.Categorical(logits=LOGITS).entropy()
    torch.testing.assert_close(negative_entropy(LOGITS), -entropy)
    mean, uniform = LOGITS.softmax(1).mean(0), torch.full((4,), 0.25, dtype=torch.float64)
    kinds = torch.distributions.Categorical
    torch.testing.assert_close(towards_uniform(LOGITS), torch.distributions.kl_divergence(kinds(uniform), kinds(mean)))


def test_ramp():
    assert [ramp(position, 4) for position in (-1, 0, 1, 4, 9)] == [0, 0, 0.25, 1, 1]
    assert ramp(0, 0) == 1


@pytest.mark.parametrize("at_least_half", [False, True])
def test_mixes_depend_on_seed_and_epoch_alone(context, at_least_half):
    ctx, mixer = context(torch.nn.Linear(2, 2)), Mixer(0.5, at_least_half)
    found = []
    for epoch in (1, 2, 1):
        ctx.epoch = epoch
        mixer.start(ctx)
        torch.rand(epoch)  # no stream of torch is used
        found.append([mixer(6, ctx.device) for _ in range(40)])
    first, second, again = found
    assert [mix.share for mix in first] == [mix.share for mix in again] != [mix.share for mix in second]
    assert all(torch.equal(one.partner, other.partner) for one, other in zip(first, again))
    assert (min(mix.share for mix in first) >= 0.5) == at_least_half
    rows = torch.arange(6.0)[:, None]
    mix = first[0]
    torch.testing.assert_close(mix(rows), mix.share * rows + (1 - mix.share) * rows[mix.partner])


def test_shares_are_of_the_beta_distribution():
    """Beta(2, 2): mean 1/2, variance 1/20; of 4,000 draws the mean is within 4 standard errors, .014."""
    mixer = Mixer(2.0)
    shares = torch.tensor([mixer(1, torch.device("cpu")).share for _ in range(4000)], dtype=torch.float64)
    assert abs(shares.mean() - 0.5) < 0.015 and abs(shares.var() - 0.05) < 0.005


@pytest.mark.parametrize("alpha", [0, -1, math.inf, math.nan])
def test_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="alpha is"):
        Mixer(alpha)
