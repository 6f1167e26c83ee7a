"""The plain losses of multi-label and regression data, and focal loss over labels, against their formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from lilawbench.losses import bce, ce, focal, squared

LOGITS = 3 * torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = (torch.rand(40, 5, generator=torch.Generator().manual_seed(1)) < 0.3).long()


def test_bce_by_hand():
    """p = 1/4, 1/2 with labels 1, 0: (ln 4 + ln 2) / 2 = 1.039721."""
    loss = bce(torch.tensor([[-math.log(3), 0.0]]), torch.tensor([[1, 0]]))
    assert loss.tolist() == pytest.approx([1.039721], abs=1e-6)


def test_bce_is_the_mean_over_labels_of_a_sample():
    expected = F.binary_cross_entropy(LOGITS.sigmoid(), LABELS.double(), reduction="none").mean(1)
    torch.testing.assert_close(bce(LOGITS, LABELS), expected, rtol=0, atol=1e-12)


def test_squared_by_hand():
    """(2.5 - 1)^2 and (-1 - 3)^2; a target [B] meets logits [B, 1] without spreading to [B, B]."""
    assert squared(torch.tensor([[2.5], [-1.0]]), torch.tensor([1.0, 3.0])).tolist() == [2.25, 16.0]


def test_focal_over_labels_by_hand():
    """p = 1/4 with label 1: (3/4)^2 ln 4 = .779791; p = 1/4 with label 0, p_t = 3/4: (1/4)^2 ln 4/3 = .017980."""
    logits = torch.full((1, 2), -math.log(3))
    assert focal(logits, torch.tensor([[1, 0]])).tolist() == pytest.approx([(0.779791 + 0.017980) / 2], abs=1e-6)


def test_focal_over_labels_with_gamma_0_is_bce():
    torch.testing.assert_close(focal(LOGITS, LABELS, gamma=0), bce(LOGITS, LABELS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_over_two_opposite_labels_is_the_binary_one(gamma):
    """softmax of (0, z) is (1 - sigmoid z, sigmoid z): one label with logit z is two classes."""
    z, label = LOGITS[:, :1], LABELS[:, 0]
    two = torch.cat([torch.zeros_like(z), z], dim=1)
    torch.testing.assert_close(focal(z, label[:, None], gamma), focal(two, label, gamma), rtol=0, atol=1e-12)
    torch.testing.assert_close(bce(z, label[:, None]), ce(two, label), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # torch's own, where it first takes forward mode
@pytest.mark.parametrize("loss", [bce, focal, squared])
def test_gradients_are_those_of_finite_differences(loss):
    logits = (LOGITS[:6, :1] if loss is squared else LOGITS[:6]).clone().requires_grad_()
    target = LOGITS[:6, 1] if loss is squared else LABELS[:6]
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, target), logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [bce, focal])
def test_finite_with_both_derivatives_where_logits_are_extreme(loss, dtype):
    logits = torch.tensor([[900.0, -900.0, 0.0], [-900.0, 900.0, 17.0]], dtype=dtype, requires_grad=True)
    for label in (0, 1):
        value = loss(logits, torch.full((2, 3), label))
        (gradient,) = torch.autograd.grad(value.sum(), logits, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), logits)
        assert value.dtype == dtype and value.shape == (2,)
        assert torch.isfinite(value).all() and torch.isfinite(gradient).all() and torch.isfinite(second).all()


@pytest.mark.parametrize("loss", [bce, focal])
def test_samples_know_nothing_of_each_other(loss):
    rows = torch.tensor([7, 0, 3])
    torch.testing.assert_close(loss(LOGITS[rows], LABELS[rows]), loss(LOGITS, LABELS)[rows], rtol=0, atol=1e-15)
