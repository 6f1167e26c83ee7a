"""Losses that know the observed classes' counts, against their formulas in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from lilawbench.losses import LDAM, BalancedSoftmax, LogitAdjustment, ce
from lilawbench.losses.balanced import class_counts, log_counts
from lilawbench.methods.parts.meta_nets import MetaNets

CPU = torch.device("cpu")
K = 4
COUNTS = torch.tensor([1000, 100, 10, 1])
LABELS = torch.arange(K).repeat_interleave(COUNTS)
LOGITS = 2 * torch.randn(40, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.arange(40) % K


def ready(loss, labels=LABELS, num_classes=K):
    loss.setup(len(labels), num_classes, CPU)
    loss.observe(labels)
    return loss


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_counts_are_of_the_given_labels():
    assert class_counts(torch.tensor([2, 0, 2, 2]), 4).tolist() == [1, 0, 3, 0]


def test_balanced_softmax_by_hand():
    """z = (0, ln 3), n = (6, 2): the softmax is of 6 to 6, each 1/2; of plain z it is (1/4, 3/4)."""
    loss = ready(BalancedSoftmax(), torch.tensor([0] * 6 + [1] * 2), 2)
    logits = torch.tensor([[0.0, math.log(3)]] * 2, dtype=torch.float64)
    assert loss(logits, torch.tensor([0, 1])).tolist() == pytest.approx([math.log(2)] * 2, abs=1e-12)


def test_balanced_softmax_is_its_formula():
    """-log n_y e^z_y / sum_k n_k e^z_k, theorem 1."""
    weighted = COUNTS * LOGITS.exp()
    expected = -(weighted / weighted.sum(1, keepdim=True))[torch.arange(40), TARGET].log()
    assert_equal(ready(BalancedSoftmax())(LOGITS, TARGET), expected)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_logit_adjustment_is_its_formula(tau):
    """log(1 + sum_{k != y} (pi_k / pi_y)^tau e^(z_k - z_y)), eq. 10."""
    prior = COUNTS / COUNTS.sum().double()
    rows = torch.arange(40)
    ratio = (prior / prior[TARGET][:, None]) ** tau * (LOGITS - LOGITS[rows, TARGET][:, None]).exp()
    ratio[rows, TARGET] = 0
    assert_equal(ready(LogitAdjustment(tau))(LOGITS, TARGET), ratio.sum(1).log1p())


def test_at_its_limits_it_is_cross_entropy_or_balanced_softmax():
    assert_equal(ready(LogitAdjustment(0))(LOGITS, TARGET), ce(LOGITS, TARGET))
    assert_equal(ready(LogitAdjustment(1))(LOGITS, TARGET), ready(BalancedSoftmax())(LOGITS, TARGET))
    for loss in (BalancedSoftmax(), LogitAdjustment(1.7)):
        assert_equal(ready(loss, torch.arange(K).repeat(9))(LOGITS, TARGET), ce(LOGITS, TARGET))


def test_its_minimiser_predicts_the_balanced_posterior():
    """Trap: predictions are of plain z. Trained on labels of P(y) ~ n, softmax(z) is the posterior of even classes."""
    even = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    seen = even * COUNTS / (even * COUNTS).sum()  # the posterior on the long tail
    logits = even.log()[None].expand(K, K).clone().requires_grad_()
    (ready(BalancedSoftmax())(logits, torch.arange(K)) * seen).sum().backward()
    assert logits.grad.sum(0).abs().max() < 1e-12


def test_a_class_that_is_never_observed_counts_as_one_row():
    loss = ready(BalancedSoftmax(), torch.tensor([0, 0, 1]), 3)
    assert_equal(loss.log_prior.exp() * 3, torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))


def test_the_margin_of_dynamic_loss_is_the_same_formula():
    nets = MetaNets(COUNTS, 2, corrector=False, margin="balanced_softmax", generator=torch.Generator())
    torch.testing.assert_close(nets()[1], log_counts(COUNTS.double()).float())
    expected = F.cross_entropy(LOGITS + nets()[1].double(), TARGET, reduction="none")
    torch.testing.assert_close(ready(BalancedSoftmax())(LOGITS, TARGET), expected, rtol=0, atol=1e-6)


def test_state_follows_from_the_labels_alone():
    for loss in (BalancedSoftmax(), LDAM(drw_after_epochs=0)):
        assert not ready(loss).state_dict()
        assert torch.equal(type(loss)()(LOGITS, TARGET), ce(LOGITS, TARGET))  # as a config is checked


def test_ldam_by_hand():
    """n = (16, 1): m = .5 (1/2, 1) and s = 2 take .5 off label 0 and 1 off label 1; z = (0, ln 3)."""
    loss = ready(LDAM(scale=2.0), torch.tensor([0] * 16 + [1]), 2)
    logits = torch.tensor([[0.0, math.log(3)]] * 2, dtype=torch.float64)
    expected = [math.log1p(3 * math.exp(0.5)), math.log1p(math.e / 3)]
    assert loss(logits, torch.tensor([0, 1])).tolist() == pytest.approx(expected, abs=1e-12)


def test_ldam_is_its_formula_on_cosines():
    cosines = LOGITS.tanh()
    margins = 0.5 * COUNTS.double() ** -0.25 / (COUNTS.double() ** -0.25).max()
    shifted = cosines - margins * F.one_hot(TARGET, K)
    expected = F.cross_entropy(30 * shifted, TARGET, reduction="none")
    assert_equal(ready(LDAM())(30 * cosines, TARGET), expected)


def test_ldam_at_its_limits():
    """No margin is cross-entropy; equal counts give all classes the largest."""
    assert_equal(ready(LDAM(max_margin=0.0))(LOGITS, TARGET), ce(LOGITS, TARGET))
    loss = ready(LDAM(max_margin=0.3, scale=10.0), torch.arange(K).repeat(7))
    assert_equal(loss.margin, torch.full((K,), 3.0, dtype=torch.float64))


def test_deferred_weights_begin_after_their_epoch():
    """(1 - beta) / (1 - beta^n), as the authors' code weights a batch: their ratios, and a mean of 1 over the rows."""
    loss = ready(LDAM(drw_after_epochs=2, drw_beta=0.99))
    seen = []
    for epoch in (1, 2, 3, 4):
        loss.start_epoch(epoch, None)
        seen.append(loss(LOGITS, TARGET))
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])
    weight = (1 - 0.99) / (1 - 0.99 ** COUNTS.double())
    assert_equal((seen[2] / seen[1])[:K], weight / (weight[LABELS].mean()))
    expected = F.cross_entropy(loss_logits(loss), LABELS, weight=weight)  # torch's weighted mean, over all rows
    whole = loss(torch.zeros(len(LABELS), K, dtype=torch.float64), LABELS)
    assert_equal(whole.mean(), expected)


def loss_logits(loss):
    """Logits 0 of all rows, less their margins."""
    return torch.zeros(len(LABELS), K, dtype=torch.float64) - loss.margin * F.one_hot(LABELS, K)


def test_deferred_weights_that_never_begin_are_said():
    assert LDAM().never_acts(10) == LDAM(drw_after_epochs=9).never_acts(10) == []
    said = "DRW never weighted: loss.drw_after_epochs is 10, of 10 epochs"
    assert LDAM(drw_after_epochs=10).never_acts(10) == [said]


@pytest.mark.parametrize(
    "wrong",
    [{"max_margin": -1}, {"scale": 0}, {"drw_after_epochs": -1}, {"drw_after_epochs": 1.5}, {"drw_beta": 1}],
    ids=str,
)
def test_options_out_of_range_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} is {value}; it must"):
        LDAM(**wrong)


@pytest.mark.parametrize("tau", [-1, math.inf, math.nan])
def test_tau_out_of_range_is_refused(tau):
    with pytest.raises(ValueError, match="tau is"):
        LogitAdjustment(tau)
