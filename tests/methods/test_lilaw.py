"""LiLAW's equations against autograd, and what one meta update does."""

from itertools import combinations

import pytest
import torch

from lilawbench.losses import ce, focal
from lilawbench.methods.lilaw import TERMS, LiLAW, agreement, meta_gradient

START = (8.5, 2.25, 5.75)  # exact in float32, as are the step sizes below
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(TERMS, size)]


def batch(seed=0, size=40, classes=6):
    """Logits [B, K] float64 that include ties and saturated probabilities, and labels [B]."""
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, classes, dtype=torch.float64, generator=random)
    target = torch.randint(0, classes, (size,), generator=random)
    logits[0] = 0.0  # all tied
    logits[1, :2], logits[1, 2:] = 2.0, -1.0  # two share the maximum; the label is one of them
    target[1] = 0
    logits[2], target[2] = torch.tensor([800.0, 0, 0, 0, 0, 0]), 0  # s_y = s_max = 1
    logits[3], target[3] = torch.tensor([800.0, 0, 0, 0, 0, 0]), 1  # s_y = 0, s_max = 1
    return logits, target


def plain_terms(logits, target, alpha, beta, delta):
    """Eq. 2-4 as printed. Of tied maxima the first has the slope."""
    s = logits.softmax(1)
    s_y, s_max = s[torch.arange(len(s)), target], s.max(1).values
    easy, hard = torch.sigmoid(alpha * s_y - s_max), torch.sigmoid(-(beta * s_y - s_max))
    return {"alpha": easy, "beta": hard, "delta": torch.exp(-((delta * s_y - s_max) ** 2) / 2)}


def plain_weight(logits, target, alpha, beta, delta, terms=TERMS):
    values = plain_terms(logits, target, alpha, beta, delta)
    return torch.stack([values[name] for name in terms]).sum(0)


def plain_gradient(logits, target, params, loss=ce, terms=TERMS):
    """Autograd of Eq. 6 with respect to (alpha, beta, delta), [3]; zero for a term that is left out."""
    leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in params]
    (plain_weight(logits, target, *leaves, terms) * loss(logits, target)).mean().backward()
    return torch.stack([torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves])


def values(lilaw):
    """(alpha, beta, delta) and the scales where there are any, as the trace reports them."""
    return lilaw.trace()[1].detach().clone()


@pytest.mark.parametrize("params", [START, (10.0, 2.0, 6.0), (1.0, -0.5, 0.0)])
def test_weights_are_eq_2_to_5_with_their_slope_on_the_logits(params):
    logits, target = batch()
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    weight, expected = LiLAW(*params).double().weights(ours, target), plain_weight(plain, target, *params)
    torch.testing.assert_close(weight, expected, rtol=0, atol=1e-12)
    direction = torch.linspace(-1, 2, len(target), dtype=torch.float64)
    (grad,) = torch.autograd.grad(weight @ direction, ours)
    (expected_grad,) = torch.autograd.grad(expected @ direction, plain)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-10)
    assert grad.abs().max() > 0.1 and torch.isfinite(grad).all()


@pytest.mark.parametrize("loss", [ce, focal])
@pytest.mark.parametrize("detach", [False, True], ids=["through W", "detached"])
def test_both_readings_of_the_models_gradient(detach, loss):
    logits, target = batch()
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    weight = plain_weight(plain, target, *START)
    expected = ((weight.detach() if detach else weight) * loss(plain, target)).mean()
    value = LiLAW(*START, loss=loss, detach_weight=detach).double().weighted_loss(ours, target)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    (grad,), (expected_grad,) = torch.autograd.grad(value, ours), torch.autograd.grad(expected, plain)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", [ce, focal])
@pytest.mark.parametrize("seed", range(3))
def test_meta_gradient_is_autograds(seed, loss):
    logits, target = batch(seed)
    params = torch.tensor(START, dtype=torch.float64) + seed
    gradient = meta_gradient(loss(logits, target), *agreement(logits, target), params)
    expected = plain_gradient(logits, target, params.tolist(), loss)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)
    assert gradient[0] > 0 > gradient[1]


@pytest.mark.parametrize("loss", [ce, focal])
@pytest.mark.parametrize(
    "lr, weight_decay",
    [(2**-6, 2**-8), ([2**-4, 2**-6, 2**-5], [2**-7, 0.0, 2**-8]), (2**-6, 0.0)],
    ids=["one each", "per parameter", "no decay"],
)
def test_update_is_p_minus_lr_times_gradient_plus_decay(lr, weight_decay, loss):
    lilaw = LiLAW(*START, lr=lr, weight_decay=weight_decay, loss=loss).double()
    p, lr, weight_decay = (torch.as_tensor(v, dtype=torch.float64) for v in (START, lr, weight_decay))
    for seed in range(3):
        logits, target = batch(seed)
        p = p - lr * (plain_gradient(logits, target, p.tolist(), loss) + weight_decay * p)
        lilaw.meta_update(logits, target)
        torch.testing.assert_close(values(lilaw), p, rtol=0, atol=1e-12)


def test_defaults_in_float32():
    """lr .005 and decay 1e-4 from 10, 2, 6, to a float32 rounding a step."""
    lilaw, p = LiLAW(), torch.tensor([10.0, 2.0, 6.0], dtype=torch.float64)
    for seed in range(20):
        logits, target = batch(seed)
        p = p - 0.005 * (plain_gradient(logits, target, p.tolist()) + 1e-4 * p)
        lilaw.meta_update(logits.float(), target)
    torch.testing.assert_close(values(lilaw).double(), p, rtol=0, atol=2e-5)
    assert (p - torch.tensor([10.0, 2.0, 6.0])).abs().min() > 1e-3


@pytest.mark.parametrize("clamp", [True, False])
def test_alpha_never_rises_and_beta_never_falls_without_decay(clamp):
    lilaw = LiLAW(3, 1, 2, lr=0.3, weight_decay=0.0, clamp=clamp)
    path = [values(lilaw)]
    for seed in range(60):
        logits, target = batch(seed)
        lilaw.meta_update(logits.float(), target)
        path.append(values(lilaw))
    steps = torch.stack(path).diff(dim=0)
    assert (steps[:, 0] <= 0).all() and (steps[:, 0] < 0).any()
    assert (steps[:, 1] >= 0).all() and (steps[:, 1] > 0).any()


def test_clamp_keeps_alpha_at_1_then_delta_at_the_new_beta():
    """alpha 1.01 and delta 2 would fall below 1 and below beta, which rises; beta itself is free."""
    logits, target = batch(size=20)
    free, kept = (LiLAW(1.01, 2, 2, lr=4.0, weight_decay=0.0, clamp=clamp) for clamp in (False, True))
    for lilaw in (free, kept):
        lilaw.meta_update(logits.float(), target)
    assert free.alpha < 1 and free.delta < free.beta
    assert kept.alpha == 1 and kept.beta == free.beta > 2 and kept.delta == kept.beta
    low = LiLAW(10, 0.5, 6, lr=0.1, weight_decay=8.0)
    low.meta_update(logits.float(), target)
    assert low.beta < 0.5 and low.alpha > 1  # no lower limit for beta


@pytest.mark.parametrize("terms", SUBSETS, ids="+".join)
def test_terms_left_out_do_not_enter_and_do_not_learn(terms):
    logits, target = batch()
    lilaw = LiLAW(*START, lr=2**-6, weight_decay=2**-8, terms=list(reversed(terms))).double()
    weight = lilaw.weights(logits, target)
    torch.testing.assert_close(weight, plain_weight(logits, target, *START, terms), rtol=0, atol=1e-12)
    p = torch.tensor(START, dtype=torch.float64)
    expected = p - 2**-6 * (plain_gradient(logits, target, START, terms=terms) + 2**-8 * p)
    lilaw.meta_update(logits, target)
    for i, name in enumerate(TERMS):
        value = values(lilaw)[i].item()
        if name in terms:
            assert value == pytest.approx(expected[i].item(), abs=1e-12) and value != START[i]
        else:
            assert value == START[i]  # to the bit


@pytest.mark.parametrize("terms", SUBSETS, ids="+".join)
def test_scales_start_as_the_rule_without_them_and_learn(terms):
    """The review's five parameters: W = sum_k c_k W_k, c = n softmax(theta); three updates against autograd."""
    logits, target = batch()
    lr, decay = 2**-2, 2**-7
    options = {"lr": lr, "weight_decay": decay, "terms": terms}
    scaled, plain = (LiLAW(*START, **options, scales=scales).double() for scales in (True, False))
    assert torch.equal(scaled.weights(logits, target), plain.weights(logits, target))
    p = [torch.tensor(value, dtype=torch.float64) for value in (*START, 0.0, 0.0, 0.0)]
    for seed in range(3):
        logits, target = batch(seed)
        leaves = [v.clone().requires_grad_() for v in p]
        shown = plain_terms(logits, target, *leaves[:3])
        theta = dict(zip(TERMS, leaves[3:], strict=True))
        total = sum(theta[name].exp() for name in terms)
        weight = sum(len(terms) * theta[name].exp() / total * shown[name] for name in terms)
        torch.testing.assert_close(scaled.weights(logits, target), weight.detach(), rtol=0, atol=1e-12)
        grads = torch.autograd.grad((weight * ce(logits, target)).mean(), leaves, allow_unused=True)
        p = [v if g is None else v - lr * (g + decay * v) for v, g in zip(p, grads, strict=True)]
        scaled.meta_update(logits, target)
        torch.testing.assert_close(torch.cat([scaled.params, scaled.theta]), torch.stack(p), rtol=0, atol=1e-12)
        names, traced = scaled.trace()
        assert names == (*TERMS, "alpha_scale", "beta_scale", "delta_scale")
        assert torch.equal(traced[:3], scaled.params)
        assert traced[3:].sum().item() == pytest.approx(len(terms), abs=1e-12)
        assert [value > 0 for value in traced[3:]] == [name in terms for name in TERMS]
    moved = (scaled.scales[scaled.included] - 1).abs().min()
    assert moved > 1e-3 if len(terms) > 1 else moved == 0


@pytest.mark.parametrize("loss", [ce, pytest.param(focal, marks=pytest.mark.slow)])
def test_scales_never_make_a_weight_negative(loss):
    """Free factors did after some hundred such steps, and the network then trained uphill."""
    logits, target = batch(size=40)
    lilaw = LiLAW(lr=0.5, scales=True, loss=loss).double()
    for _ in range(600):
        lilaw.meta_update(logits, target)
        assert lilaw.weights(logits, target).min() >= 0
    assert lilaw.scales.sum().item() == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize("loss", [ce, focal])
def test_a_second_derivative_is_refused_rather_than_wrong(loss):
    logits, target = batch()
    value = LiLAW(loss=loss).double().weighted_loss(logits.requires_grad_(), target)
    with pytest.raises(RuntimeError, match="no second derivative here"):
        torch.autograd.grad(value, logits, create_graph=True)


@pytest.mark.parametrize("change", ["loaded", "in place", "dtype"])
def test_the_loss_is_of_the_parameters_as_they_are_now(change):
    """What the closed form keeps of the parameters follows a loaded state, a change in place and another precision."""
    logits, target = batch()
    logits = logits[4:].float()  # without saturated ones
    lilaw = LiLAW()
    lilaw.weighted_loss(logits, target[4:])
    if change == "loaded":
        lilaw.load_state_dict(LiLAW(*START).state_dict())
    elif change == "in place":
        lilaw.params.copy_(torch.tensor(START))
    else:
        lilaw, logits = lilaw.double(), logits.double()
    expected = (plain_weight(logits, target[4:], *lilaw.params.tolist()) * ce(logits, target[4:])).mean()
    torch.testing.assert_close(lilaw.weighted_loss(logits, target[4:]), expected)
    assert change == "dtype" or lilaw.params.tolist() == list(START)


@pytest.mark.parametrize("terms", SUBSETS, ids="+".join)
@pytest.mark.parametrize("scales", [False, True])
def test_the_closed_form_is_autograd_of_the_weights(terms, scales):
    """With any terms and learned factors: value, weight and slope on the logits."""
    logits, target = batch()
    lilaw = LiLAW(*START, terms=terms, scales=scales, lr=0.5).double()
    lilaw.meta_update(logits, target)
    grads = []
    for value in (lilaw.weighted_loss, lambda z, y: (lilaw.weights(z, y) * ce(z, y)).mean()):
        leaf = logits.clone().requires_grad_()
        grads.append((value(leaf, target), *torch.autograd.grad(value(leaf, target), leaf)))
    torch.testing.assert_close(*grads, rtol=0, atol=1e-10)
