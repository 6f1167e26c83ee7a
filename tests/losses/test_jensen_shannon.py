"""Jensen-Shannon losses against their definition by entropies, in float64."""

import math

import pytest
import torch

from lilawbench.losses import ce, js, mae
from lilawbench.losses.jensen_shannon import gjs

K = 5
RANDOM = torch.Generator().manual_seed(0)
ONE, TWO, THREE = (2 * torch.randn(40, K, dtype=torch.float64, generator=RANDOM) for _ in range(3))
TARGET = torch.arange(40) % K
LABEL = torch.eye(K, dtype=torch.float64)[TARGET]


def entropy(probs):
    return -torch.xlogy(probs, probs).sum(1)


def divergence(parts):
    """sum_i w_i H(p_i) taken from H(sum_i w_i p_i): parts are (w, p)."""
    return entropy(sum(w * p for w, p in parts)) - sum(w * entropy(p) for w, p in parts)


def scale(pi):
    return -(1 - pi) * math.log(1 - pi)


def assert_equal(found, expected, atol=1e-12):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_js_by_hand():
    """s_y = 1/2 of two, pi = 1/2: m = (3/4, 1/4), JS = H(m) - H(s) / 2 = .562335 - .346574; Z = ln(2) / 2."""
    value = js(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0]))
    assert value.item() == pytest.approx((0.5623351446 - 0.3465735903) / 0.3465735903, abs=1e-9)


@pytest.mark.parametrize("pi", [0.1, 0.5, 0.9])
def test_js_is_its_definition(pi):
    assert_equal(js(ONE, TARGET, pi), divergence([(pi, LABEL), (1 - pi, ONE.softmax(1))]) / scale(pi))


@pytest.mark.parametrize("pi", [0.1, 0.5, 0.9])
def test_gjs_is_its_definition_and_of_one_view_js(pi):
    share = (1 - pi) / 3
    parts = [(pi, LABEL), *((share, z.softmax(1)) for z in (ONE, TWO, THREE))]
    assert_equal(gjs([ONE, TWO, THREE], TARGET, pi), divergence(parts) / scale(pi))
    assert_equal(gjs([ONE], TARGET, pi), js(ONE, TARGET, pi))
    assert_equal(gjs([ONE, ONE], TARGET, pi), js(ONE, TARGET, pi))


def test_gjs_is_js_of_the_mean_and_a_term_of_consistency():
    """Proposition 2: (1 - pi) JS(views) / Z more than the loss of their mean prediction."""
    pi, views = 0.3, [ONE.softmax(1), TWO.softmax(1)]
    apart = (1 - pi) * divergence([(0.5, views[0]), (0.5, views[1])]) / scale(pi)
    assert_equal(gjs([ONE, TWO], TARGET, pi), js((sum(views) / 2).log(), TARGET, pi) + apart)
    assert (apart > 0).all()


def test_js_lies_between_cross_entropy_and_mean_absolute_error():
    """Proposition 1: pi -> 0 is CE, pi -> 1 is |e_y - s| / 2. The error falls like pi, and like 1 / log(1 - pi)."""
    assert_equal(js(ONE, TARGET, 1e-7), ce(ONE, TARGET), atol=1e-4)
    near, nearer = ((js(ONE, TARGET, 1 - gap) - mae(ONE, TARGET) / 2).abs().max() for gap in (1e-6, 1e-12))
    assert nearer < 0.6 * near < 0.06


@pytest.mark.parametrize("pi", [0.1, 0.5, 0.9])
def test_js_is_bounded(pi):
    """H(pi) / Z where s_y = 0, 0 where s_y = 1."""
    logits = torch.tensor([[900.0, 0.0, 0.0]] * 2, dtype=torch.float64)
    most = (-pi * math.log(pi) - (1 - pi) * math.log(1 - pi)) / scale(pi)
    assert js(logits, torch.tensor([0, 1]), pi).tolist() == pytest.approx([0, most], abs=1e-12)
    assert gjs([logits, logits], torch.tensor([0, 1]), pi).tolist() == pytest.approx([0, most], abs=1e-12)


def test_gjs_of_extreme_logits_has_finite_gradients():
    logits = torch.tensor([[900.0, -900, 0], [-900, 900, 0]], requires_grad=True)
    for label in range(3):
        value = gjs([logits, logits.flip(0)], torch.full((2,), label), 0.5)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert value.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("pi", [0, 1, -0.1, math.nan])
def test_pi_out_of_range_is_refused(pi):
    for loss in (js, lambda z, y, pi: gjs([z], y, pi)):
        with pytest.raises(ValueError, match=r"it must lie in \(0, 1\)"):
            loss(ONE, TARGET, pi)
