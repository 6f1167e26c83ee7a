"""CORES2 against its formulas in float64, and its schedule."""

import math

import pytest
import torch

from lilawbench.losses import CORES2, ce

K = 3
LOGITS = 2 * torch.randn(30, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.arange(30) % K
ROWS = torch.arange(30)
LABELS = torch.tensor([0] * 6 + [1] * 3 + [2])
PRIOR = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)


def at(epoch, **options):
    loss = CORES2(**options)
    loss.setup(10, K, torch.device("cpu"))
    loss.observe(LABELS)
    loss.start_epoch(epoch, None)
    return loss


def test_by_hand():
    """s = (1/4, 3/4), even labels, beta 2: ln 4 - 2 (ln 4 + ln 4/3) / 2 = -ln 4/3, and ln 4/3 - ... = -ln 4."""
    loss = CORES2(sieve_after_epochs=None)
    loss.setup(2, 2, torch.device("cpu"))
    loss.observe(torch.tensor([0, 1]))
    loss.start_epoch(41, None)
    logits = torch.tensor([[0.0, math.log(3)]] * 2, dtype=torch.float64)
    assert loss(logits, torch.tensor([0, 1])).tolist() == pytest.approx([-math.log(4 / 3), -math.log(4)], abs=1e-7)


def test_beta_is_0_for_ten_epochs_and_rises_over_thirty():
    """The authors' linspace(0, 2, 30) after ten zeros; ours counts epochs from 1."""
    found = [at(epoch).beta_now for epoch in range(1, 46)]
    expected = torch.cat([torch.zeros(10), torch.linspace(0, 2, 30, dtype=torch.float64), torch.full((5,), 2.0)])
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("epoch, beta", [(1, 0.0), (25, 2 * 14 / 29), (30, 2 * 19 / 29)])
def test_the_regulariser_is_the_expected_loss_of_a_random_label(epoch, beta):
    """The floor of 1e-8 moves it by less than 1e-5 where no probability is below 1e-3."""
    logits = LOGITS.clamp(-3, 3)
    of_each = torch.stack([ce(logits, torch.full((30,), label)) for label in range(K)], dim=1)
    expected = ce(logits, TARGET) - beta * of_each @ PRIOR
    torch.testing.assert_close(at(epoch)(logits, TARGET, ROWS), expected, rtol=0, atol=1e-5)


def test_without_beta_it_is_cross_entropy_to_the_bit():
    for loss in (at(10), at(99, beta=0.0, sieve_after_epochs=None), CORES2()):
        assert torch.equal(loss(LOGITS, TARGET, ROWS), ce(LOGITS, TARGET))


def test_the_sieve_leaves_out_labels_that_are_less_likely_than_an_average_one():
    """-log s_y > mean_k -log s_k, that is s_y below the geometric mean; validation rows, without index, all count."""
    kept = LOGITS.softmax(1)[ROWS, TARGET] >= LOGITS.softmax(1).log().mean(1).exp()
    assert 5 < kept.sum() < 25
    assert torch.equal(at(30)(LOGITS, TARGET, ROWS) != 0, torch.ones(30, dtype=torch.bool))
    assert torch.equal(at(31)(LOGITS, TARGET, ROWS) != 0, kept)
    assert torch.equal(at(31)(LOGITS, TARGET, ROWS)[kept], at(31)(LOGITS, TARGET)[kept])
    assert (at(31)(LOGITS, TARGET) != 0).all()


def test_sieved_rows_have_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    values = at(31)(logits, TARGET, ROWS)
    values.sum().backward()
    assert torch.equal(logits.grad.abs().sum(1) > 0, values != 0)


def test_the_floor_bounds_it_from_below():
    """beta E[-log(s + 1e-8)] <= 2 * 18.42: a network that is sure for ever has nothing left to gain."""
    logits = torch.tensor([[900.0, 0, 0]], dtype=torch.float64, requires_grad=True)
    value = at(41)(logits, torch.tensor([0]))
    assert value.item() == pytest.approx(-2 * 0.4 * math.log(1e8), abs=1e-4)
    assert torch.autograd.grad(value.sum(), logits)[0].abs().max() < 1e-6


def test_a_sieve_that_never_begins_is_said():
    assert CORES2().never_acts(31) == CORES2(sieve_after_epochs=None).never_acts(3) == []
    assert CORES2().never_acts(30) == ["never sieved: loss.sieve_after_epochs is 30, of 30 epochs"]


@pytest.mark.parametrize(
    "wrong", [{"beta": -1}, {"beta": math.nan}, {"warmup_epochs": -1}, {"ramp_epochs": 0}, {"sieve_after_epochs": 0.5}],
    ids=str,
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} is {value}; it must"):
        CORES2(**wrong)
