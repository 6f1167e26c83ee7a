"""Robust losses against their formulas."""

import math

import pytest
import torch

from lilawbench.losses import active_passive, bootstrapping, ce, gce, mae, mse, sce

K = 7
LOGITS = 3 * torch.randn(50, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.arange(50) % K
PROBS = LOGITS.softmax(1)
P_Y = PROBS[torch.arange(50), TARGET]
ONE_HOT = torch.eye(K, dtype=torch.float64)[TARGET]
# softmax = (1/4, 3/4)
QUARTER = torch.tensor([[0.0, math.log(3)]] * 2, dtype=torch.float64)
BOTH = torch.tensor([0, 1])


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_mae_is_the_distance_to_the_one_hot_label():
    assert_equal(mae(LOGITS, TARGET, scale="mean"), (PROBS - ONE_HOT).abs().mean(1))
    assert_equal(mae(LOGITS, TARGET), (PROBS - ONE_HOT).abs().sum(1))


def test_mae_by_hand():
    """|1/4 - 1| + |3/4 - 0| = 3/2 and 1/2; half of it in the mean over two classes."""
    assert mae(QUARTER, BOTH).tolist() == pytest.approx([1.5, 0.5], abs=1e-12)
    assert mae(QUARTER, BOTH, scale="mean").tolist() == pytest.approx([0.75, 0.25], abs=1e-12)


def test_mae_is_symmetric():
    """Summed over the labels it is 2 (K - 1) for any prediction."""
    total = sum(mae(LOGITS, torch.full((50,), label)) for label in range(K))
    assert_equal(total, torch.full((50,), 2.0 * (K - 1), dtype=torch.float64))


def test_mse_is_the_squared_distance_to_the_one_hot_label():
    assert_equal(mse(LOGITS, TARGET, scale="mean"), (PROBS - ONE_HOT).square().mean(1))
    assert_equal(mse(LOGITS, TARGET), (PROBS - ONE_HOT).square().sum(1))


def test_mse_by_hand():
    """(1/4 - 1)^2 + (3/4)^2 = 9/8 and 1/8."""
    assert mse(QUARTER, BOTH).tolist() == pytest.approx([1.125, 0.125], abs=1e-12)
    assert mse(QUARTER, BOTH, scale="mean").tolist() == pytest.approx([0.5625, 0.0625], abs=1e-12)


@pytest.mark.parametrize("dtype, gap", [(torch.float32, 40.0), (torch.float64, 200.0)])
def test_mae_and_mse_keep_their_digits_where_s_y_rounds_to_1(dtype, gap):
    """Two other classes at exp(-gap) each: 1 - s_y = 2 exp(-gap), and the gradient on each of them exp(-gap)."""
    logits = torch.tensor([[gap, 0, 0]], dtype=dtype, requires_grad=True)
    loss = mae(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(4 * math.exp(-gap), rel=1e-5)
    assert mse(logits, torch.tensor([0])).item() == pytest.approx(6 * math.exp(-gap) ** 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient[0] / math.exp(-gap)).tolist() == pytest.approx([-4, 2, 2], rel=1e-5)


@pytest.mark.parametrize("loss", [mae, mse])
def test_scale_is_mean_or_sum(loss):
    with pytest.raises(ValueError, match="scale is 'total'; it must be mean or sum"):
        loss(LOGITS, TARGET, scale="total")


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_gce_is_its_formula(q):
    assert_equal(gce(LOGITS, TARGET, q=q), (1 - P_Y**q) / q)


def test_gce_by_hand():
    """q = 1/2: (1 - sqrt(1/4)) / (1/2) = 1."""
    assert gce(QUARTER, BOTH, q=0.5).tolist() == pytest.approx([1, 2 - math.sqrt(3)], abs=1e-12)


def test_gce_joins_ce_and_mae():
    torch.testing.assert_close(gce(LOGITS, TARGET, q=1e-9), ce(LOGITS, TARGET), rtol=1e-7, atol=0)
    assert_equal(gce(LOGITS, TARGET, q=1.0), mae(LOGITS, TARGET) / 2)


def test_gce_gradient_vanishes_where_s_y_does():
    """d/dz_y = -s_y^q (1 - s_y): at s_y = exp(-50) and q = .7, exp(-35)."""
    logits = torch.tensor([[-50.0, 0.0], [-900.0, 900.0]], dtype=torch.float64, requires_grad=True)
    gce(logits, torch.tensor([0, 0])).sum().backward()
    assert logits.grad[:, 0].tolist() == pytest.approx([-math.exp(-35), 0], rel=1e-12)


@pytest.mark.parametrize("q", [0, -0.5, 1.01, float("nan")])
def test_gce_refuses_q_out_of_range(q):
    with pytest.raises(ValueError, match=rf"q is {q}; it must lie in \(0, 1\]"):
        gce(LOGITS, TARGET, q=q)


def test_sce_is_its_formula():
    """Reverse cross-entropy written out with log 0 = A."""
    log_label = torch.where(ONE_HOT == 1, 0.0, -6.0)
    expected = 0.3 * -P_Y.log() + 2.0 * -(PROBS * log_label).sum(1)
    assert_equal(sce(LOGITS, TARGET, alpha=0.3, beta=2.0, log_zero=-6.0), expected)


def test_sce_by_hand():
    """.1 ln 4 + 4 * 3/4 = 3.138629 and .1 ln(4/3) + 4 * 1/4 = 1.028768."""
    assert sce(QUARTER, BOTH).tolist() == pytest.approx([3.138629, 1.028768], abs=1e-6)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"alpha": -1}, "alpha is -1; it must be >= 0 and finite"),
        ({"beta": math.inf}, "beta is inf; it must be >= 0 and finite"),
        ({"log_zero": 0}, "log_zero is 0; it must be < 0 and finite"),
    ],
)
def test_sce_refuses_weights_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        sce(LOGITS, TARGET, **wrong)


def test_bootstrapping_by_hand():
    """soft, label 0: -.95 ln 1/4 - .05 (1/4 ln 1/4 + 3/4 ln 3/4) = 1.345096; hard: .8 ln 4 + .2 ln(4/3) = 1.166572."""
    assert bootstrapping(QUARTER, BOTH).tolist()[0] == pytest.approx(1.345096, abs=1e-6)
    hard = bootstrapping(QUARTER, BOTH, kind="hard").tolist()
    assert hard == pytest.approx([1.166572, 0.287682], abs=1e-6)  # label 1 is the belief, too: ln(4/3)


@pytest.mark.parametrize("kind, default", [("soft", 0.95), ("hard", 0.8)])
@pytest.mark.parametrize("beta", [None, 0.0, 0.3, 1.0])
def test_bootstrapping_is_cross_entropy_of_a_mixture(kind, default, beta):
    weight = default if beta is None else beta
    belief = PROBS if kind == "soft" else torch.eye(K, dtype=torch.float64)[PROBS.argmax(1)]
    expected = -((weight * ONE_HOT + (1 - weight) * belief) * PROBS.log()).sum(1)
    assert_equal(bootstrapping(LOGITS, TARGET, kind=kind, beta=beta), expected)


def test_bootstrapping_detached_has_the_gradient_of_a_fixed_mixture():
    """s - mixture; attached, the entropy's own gradient -(1 - beta) s_k (log s_k + H) comes on top of s - label."""
    detached, attached = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    bootstrapping(detached, TARGET, beta=0.6, detach=True).sum().backward()
    bootstrapping(attached, TARGET, beta=0.6).sum().backward()
    assert_equal(detached.grad, PROBS - (0.6 * ONE_HOT + 0.4 * PROBS))
    entropy = -(PROBS * PROBS.log()).sum(1, keepdim=True)
    assert_equal(attached.grad, 0.6 * (PROBS - ONE_HOT) - 0.4 * PROBS * (PROBS.log() + entropy))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"kind": "medium"}, "kind is 'medium'; it must be soft or hard"),
        ({"beta": 1.5}, r"beta is 1.5; it must lie in \[0, 1\]"),
        ({"beta": -0.1, "kind": "hard"}, r"beta is -0.1; it must lie in \[0, 1\]"),
    ],
)
def test_bootstrapping_refuses_what_is_no_mixture(wrong, message):
    with pytest.raises(ValueError, match=message):
        bootstrapping(LOGITS, TARGET, **wrong)


def test_active_passive_by_hand():
    """s = (1/4, 3/4): NCE = ln 4 / (ln 4 + ln 4/3) = .828144 and .171856; RCE 4 * 3/4 = 3 and 1; MAE 3/2 and 1/2."""
    assert active_passive(QUARTER, BOTH).tolist() == pytest.approx([3.828144, 1.171856], abs=1e-6)
    found = active_passive(QUARTER, BOTH, alpha=10.0, beta=0.1, passive="mae")
    assert found.tolist() == pytest.approx([8.281445 + 0.15, 1.718555 + 0.05], abs=1e-5)


def test_the_active_loss_is_cross_entropy_over_that_of_all_labels():
    every = torch.stack([ce(LOGITS, torch.full((50,), label)) for label in range(K)])
    nce = active_passive(LOGITS, TARGET, beta=0.0)
    assert_equal(nce, ce(LOGITS, TARGET) / every.sum(0))
    assert ((nce > 0) & (nce < 1)).all()


@pytest.mark.parametrize("passive, constant", [("rce", 4.0), ("mae", 2.0)])
def test_active_passive_is_symmetric(passive, constant):
    """Summed over the labels: alpha + beta (K - 1) times 4 (A) or 2."""
    total = sum(active_passive(LOGITS, torch.full((50,), k), 3.0, 0.5, passive) for k in range(K))
    assert_equal(total, torch.full((50,), 3 + 0.5 * constant * (K - 1), dtype=torch.float64))


def test_the_passive_losses_are_those_of_the_package():
    assert_equal(active_passive(LOGITS, TARGET, alpha=0.0, passive="mae"), mae(LOGITS, TARGET))
    assert_equal(active_passive(LOGITS, TARGET, alpha=0.0), sce(LOGITS, TARGET, alpha=0.0))
    code = active_passive(LOGITS, TARGET, alpha=0.0, log_zero=math.log(1e-4))  # the authors'
    assert_equal(code, sce(LOGITS, TARGET, alpha=0.0, log_zero=math.log(1e-4)))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"alpha": -1}, "alpha is -1; it must be >= 0"),
        ({"beta": math.inf}, "beta is inf; it must be >= 0"),
        ({"passive": "gce"}, "passive is 'gce'; it must be rce or mae"),
        ({"log_zero": 0}, "log_zero is 0; it must be < 0"),
    ],
)
def test_active_passive_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        active_passive(LOGITS, TARGET, **wrong)
