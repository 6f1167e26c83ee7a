"""LiLAW's equations against Table 4, a hand-worked example and autograd; and what one meta update does."""

import inspect
import math
from itertools import combinations

import pytest
import torch

from lilawbench.losses import ce, focal
from lilawbench.methods.lilaw import TERMS, LiLAW, agreement, meta_gradient, weight_terms

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


@pytest.mark.parametrize(
    "probs, printed",
    [  # W_alpha, W_delta, W_beta, W, L_W
        ([0.95, 0.05], [0.999, 0.000, 0.130, 1.129, 0.058]),
        ([0.60, 0.40], [0.992, 0.002, 0.231, 1.225, 0.626]),
        ([0.40, 0.60], [0.953, 0.089, 0.354, 1.396, 1.279]),
        ([0.05, 0.95], [0.378, 0.835, 0.690, 1.903, 5.700]),
    ],
    ids=["correct confident", "correct unconfident", "incorrect unconfident", "incorrect confident"],
)
def test_right_half_of_table_4(probs, printed):
    """(alpha, beta, delta) = (9, 3, 7); the label is class 0. The table adds up W from its rounded terms."""
    logits, target = torch.tensor([probs], dtype=torch.float64).log(), torch.tensor([0])
    lilaw = LiLAW(alpha=9, beta=3, delta=7)
    easy, hard, moderate = (w.item() for w in weight_terms(*agreement(logits, target), lilaw.params.double()))
    assert [round(w, 3) for w in (easy, moderate, hard)] == printed[:3]
    assert round(sum(printed[:3]), 3) == printed[3]
    assert lilaw.weights(logits, target).item() == pytest.approx(printed[3], abs=1e-3)
    assert lilaw.weights(logits, target).item() == pytest.approx(easy + hard + moderate, abs=1e-12)
    assert round(lilaw.weighted_loss(logits, target).item(), 3) == printed[4]


def three_samples():
    """Probabilities (.8, .2), (.5, .5), (.2, .8), label 0: easy, tied, hard."""
    probs = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64)
    return probs.log(), torch.zeros(3, dtype=torch.int64)


def test_three_samples_by_hand():
    """alpha, beta, delta = 4, 1, 2; lr 1/2, weight decay 1/10.

    s_y s_max  l        W_alpha  W_beta   W_delta  W         l W_a(1-W_a)s_y  l W_b(1-W_b)s_y  l W_d(2 s_y-s_max)s_y
    .8  .8    .223144   .916827  .500000  .726149  2.142976     .013613          .044629           .103703
    .5  .5    .693147   .817574  .500000  .882497  2.200071     .051690          .086643           .152925
    .2  .8   1.609438   .500000  .645656  .923116  2.068773     .080472          .073643          -.118856
                                            mean of W l 1.777575;   gradient  .048592, -.068305, -.045924
    alpha = 4 - (.048592 + .4)/2 = 3.775704, beta = 1 - (-.068305 + .1)/2 = .984152, delta = 2 - (-.045924 + .2)/2
    """
    logits, target = three_samples()
    lilaw = LiLAW(alpha=4, beta=1, delta=2, lr=0.5, weight_decay=0.1)
    assert lilaw.weights(logits, target).tolist() == pytest.approx([2.142976, 2.200071, 2.068773], abs=1e-6)
    assert lilaw.weighted_loss(logits, target).item() == pytest.approx(1.777575, abs=1e-6)
    lilaw.meta_update(logits, target)
    expected = {"alpha": 3.775704, "beta": 0.984152, "delta": 1.922962}
    assert {name: getattr(lilaw, name).item() for name in TERMS} == pytest.approx(expected, abs=2e-6)


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


def test_specs_numbers_for_a_detached_weight():
    """10, 2, 6: a confident mislabel (s_y .05, s_max .85) pulls 1.95 times its CE gradient, an easy sample (.95) 1.28.

    With the gradient through W, Algorithm 1 as printed, the mislabel pulls 1.16 times.
    """
    probs = torch.tensor([[0.05, 0.85, 0.10], [0.95, 0.03, 0.02]], dtype=torch.float64)
    target = torch.zeros(2, dtype=torch.int64)

    def pull(detach):
        logits = probs.log().requires_grad_()
        LiLAW(detach_weight=detach).double().weighted_loss(logits, target).backward()
        return 2 * logits.grad[:, 0] / (probs[:, 0] - 1)  # d CE / d logit of the label is s_y - 1

    assert LiLAW().weights(probs.log(), target).tolist() == pytest.approx([1.95, 1.28], abs=5e-3)
    assert pull(detach=True).tolist() == pytest.approx([1.95, 1.28], abs=5e-3)
    assert pull(detach=False).tolist() == pytest.approx([1.16, 1.29], abs=5e-3)


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


def test_decay_can_pull_beta_down():
    lilaw = LiLAW(beta=2, weight_decay=10.0, lr=0.01)
    lilaw.meta_update(*three_samples())
    assert lilaw.beta < 2


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


@pytest.mark.parametrize("loss", [ce, focal])
def test_scales_never_make_a_weight_negative(loss):
    """Free factors did after some hundred such steps, and the network then trained uphill."""
    logits, target = batch(size=40)
    lilaw = LiLAW(lr=0.5, scales=True, loss=loss).double()
    for _ in range(600):
        lilaw.meta_update(logits, target)
        assert lilaw.weights(logits, target).min() >= 0
    assert lilaw.scales.sum().item() == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"terms": []}, r"terms is \[\]; it must be a non-empty subset of \['alpha', 'beta', 'delta'\]"),
        ({"terms": ["alpha", "gamma"]}, r"terms is \['alpha', 'gamma'\]"),
        ({"terms": ["alpha", "alpha"]}, r"terms is \['alpha', 'alpha'\]"),
        ({"meta_mode": "test"}, "meta_mode is 'test'; it must be eval or train"),
        ({"meta_every_steps": 0}, "meta_every_steps is 0; it must be a whole number >= 1"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1; it must be a whole number >= 0"),
        ({"lr": 0}, "lr is 0; it must be one number > 0, or three"),
        ({"lr": [0.1, 0.1, -0.1]}, "lr is .*-0.1.*; it must be one number > 0"),
        ({"lr": [0.1, 0.1]}, r"lr is \[0\.1, 0\.1\]"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001; it must be one number >= 0"),
        ({"weight_decay": [0.0] * 4}, "weight_decay is"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": "fast"}, "lr is fast"),
        ({"lr": None}, "lr is None"),
        ({"weight_decay": float("inf")}, "weight_decay is inf"),
        ({"alpha": float("nan")}, "they must be finite"),
        ({"meta_every_steps": 1.5}, "meta_every_steps is 1.5"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        LiLAW(**options)


def test_defaults_are_the_specifications():
    """A.9's numbers, and the reading of SPEC section 1 that is marked as the default."""
    taken = inspect.signature(LiLAW).parameters
    given = {name: parameter.default for name, parameter in taken.items() if name != "loss"}
    numbers = {"alpha": 10.0, "beta": 2.0, "delta": 6.0, "lr": 0.005, "weight_decay": 1e-4, "warmup_epochs": 1}
    switches = {"clamp": True, "detach_weight": False, "scales": False, "meta_mode": "eval", "meta_every_steps": 1}
    regression = {"target_range": None, "regression_delta": "gaussian"}
    assert given == numbers | switches | regression | {"terms": ("alpha", "beta", "delta")}


def test_perfect_logits_leave_finite_parameters():
    """Loss 0 and s_y = 1 for every sample: only weight decay moves anything."""
    lilaw = LiLAW(lr=0.5, weight_decay=0.01)
    lilaw.meta_update(torch.tensor([[900.0, 0.0]] * 4), torch.zeros(4, dtype=torch.int64))
    assert values(lilaw).tolist() == pytest.approx([9.95, 1.99, 5.97], abs=1e-6)
    assert not math.isnan(lilaw.weighted_loss(torch.tensor([[900.0, 0.0]]), torch.tensor([1])).item())


def test_clamp_moves_no_parameter_whose_term_is_left_out():
    lilaw = LiLAW(alpha=0.5, beta=6.0, delta=6.0, terms=("beta",))
    lilaw.meta_update(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(8, dtype=torch.int64))
    assert lilaw.params[[0, 2]].tolist() == [0.5, 6.0] and lilaw.beta > 6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_meta_update_takes_logits_of_any_precision_and_keeps_its_own(dtype):
    lilaw = LiLAW()
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    lilaw.meta_update(logits.to(dtype), torch.zeros(8, dtype=torch.int64))
    assert lilaw.params.dtype == torch.float32 and lilaw.alpha < 10 and lilaw.beta > 2


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
