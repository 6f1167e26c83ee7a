"""Cross-entropy and its variants against their formulas."""

import math

import pytest
import torch

from lilawbench.losses import ce, focal, label_smoothing

LOGITS = 3 * torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.arange(50) % 7


def test_ce_is_minus_log_softmax():
    exps = LOGITS.exp()
    expected = -(exps[torch.arange(50), TARGET] / exps.sum(1)).log()
    torch.testing.assert_close(ce(LOGITS, TARGET), expected, rtol=0, atol=1e-12)


def test_ce_by_hand():
    """softmax(0, ln 3) = (1/4, 3/4)."""
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    torch.testing.assert_close(ce(logits, torch.tensor([0, 1])), torch.tensor([math.log(4), math.log(4 / 3)]))


@pytest.mark.parametrize("gamma", [0, 0.0])
def test_focal_with_gamma_0_is_ce(gamma):
    torch.testing.assert_close(focal(LOGITS, TARGET, gamma=gamma), ce(LOGITS, TARGET), rtol=0, atol=1e-14)


def test_focal_by_hand():
    """p = 1/4: (3/4)^2 ln 4 = 0.5625 * 1.386294 = 0.779791; p = 3/4: (1/4)^2 ln(4/3) = 0.0625 * 0.287682 = 0.017980."""
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    assert focal(logits, torch.tensor([0, 1])).tolist() == pytest.approx([0.779791, 0.017980], abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_and_its_gradient_are_those_of_the_plain_formula(gamma):
    plain, ours = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    p = plain.softmax(1)[torch.arange(50), TARGET]
    expected = -((1 - p) ** gamma) * p.log()
    loss = focal(ours, TARGET, gamma=gamma)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    weight = torch.linspace(-1, 2, 50, dtype=torch.float64)
    (expected_grad,) = torch.autograd.grad((weight * expected).sum(), plain)
    (grad,) = torch.autograd.grad((weight * loss).sum(), ours)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_focal_has_a_finite_gradient_where_p_rounds_to_1_or_0(gamma, dtype):
    """The naive (1 - p) ** gamma has slope infinity at p = 1 for gamma < 1."""
    logits = torch.tensor([[100.0, 0.0], [17.0, 0.0], [-100.0, 0.0]], dtype=dtype, requires_grad=True)
    loss = focal(logits, torch.zeros(3, dtype=torch.int64), gamma=gamma)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()
    assert loss[0] == 0 and loss[2].item() == pytest.approx(100, abs=1e-4)
    torch.testing.assert_close(logits.grad[0], torch.zeros(2, dtype=dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close(logits.grad[2], torch.tensor([-1.0, 1.0], dtype=dtype))


@pytest.mark.parametrize("loss", [ce, focal])
def test_losses_are_per_sample_and_not_negative(loss):
    values = loss(LOGITS, TARGET)
    assert values.shape == (50,) and (values >= 0).all()
    rows = torch.tensor([3, 1, 4])
    torch.testing.assert_close(loss(LOGITS[rows], TARGET[rows]), values[rows], rtol=0, atol=0)


def test_focal_refuses_a_negative_gamma():
    with pytest.raises(ValueError, match=r"gamma is -0\.5; it must be >= 0"):
        focal(LOGITS, TARGET, gamma=-0.5)


def test_label_smoothing_by_hand():
    """softmax(0, ln 3) = (1/4, 3/4), label 0: .8 ln 4 + .2 (ln 4 + ln(4/3)) / 2 = 1.276433."""
    loss = label_smoothing(torch.tensor([[0.0, math.log(3)]]), torch.tensor([0]), smoothing=0.2)
    assert loss.tolist() == pytest.approx([1.276433], abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7, 1.0])
def test_label_smoothing_is_a_mixture_of_the_label_and_the_uniform_distribution(smoothing):
    soft = smoothing / 7 + (1 - smoothing) * torch.eye(7, dtype=torch.float64)[TARGET]
    expected = -(soft * LOGITS.softmax(1).log()).sum(1)
    torch.testing.assert_close(label_smoothing(LOGITS, TARGET, smoothing), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_label_smoothing_refuses_what_is_no_share(smoothing):
    with pytest.raises(ValueError, match=rf"smoothing is {smoothing}; it must lie in \[0, 1\]"):
        label_smoothing(LOGITS, TARGET, smoothing)
