"""LiLAW for several labels a sample (A.6) and for values (A.7): hand-worked weights, autograd's meta gradients."""

import math

import pytest
import torch

from lilawbench.losses import bce, focal, squared
from lilawbench.methods.lilaw import LiLAW, agreement, meta_gradient, weight_terms


def logit(p: float) -> float:
    return math.log(p / (1 - p))


PROBS = [[0.9, 0.6, 0.2], [0.3, 0.8, 0.1], [0.7, 0.7, 0.4]]
LOGITS = torch.tensor([[logit(p) for p in row] for row in PROBS], dtype=torch.float64)
LABELS = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 0]])  # k = 2, 1, 0


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_agreement_of_several_labels_by_hand():
    """Means of p over the observed labels, (.9 + .2)/2 and .1, and over the k largest, (.9 + .6)/2 and .8; k = 0: 0."""
    s_y, s_max = agreement(LOGITS, LABELS)
    assert s_y.flatten().tolist() == pytest.approx([0.55, 0.1, 0.0], abs=1e-12)
    assert s_max.flatten().tolist() == pytest.approx([0.75, 0.8, 0.0], abs=1e-12)


def test_weights_of_several_labels_by_hand():
    """Row 1: alpha s_y - s_max = 10 (.1) - .8 = .2, beta: -.6, delta: -.2; row 2 has no label: 1/2 + 1/2 + 1."""
    weights = LiLAW().weights(LOGITS.float(), LABELS)
    second = sigmoid(0.2) + sigmoid(0.6) + math.exp(-0.02)
    first = sigmoid(5.5 - 0.75) + sigmoid(-(1.1 - 0.75)) + math.exp(-((3.3 - 0.75) ** 2) / 2)
    assert weights.tolist() == pytest.approx([first, second, 2.0], abs=1e-5)


def test_one_label_each_is_the_class_case_with_sigmoid_for_softmax():
    """k = 1: s_y is p of the label and s_max the largest p."""
    label = torch.tensor([2, 0, 1])
    s_y, s_max = agreement(LOGITS, torch.nn.functional.one_hot(label, 3))
    probs = LOGITS.sigmoid()
    torch.testing.assert_close(s_y, probs.gather(1, label[:, None]), rtol=0, atol=1e-12)
    torch.testing.assert_close(s_max, probs.amax(1, keepdim=True), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind, moderate", [("gaussian", math.exp(-(1.5**2) / 2)), ("sigmoid", sigmoid(-1.5))])
def test_weights_of_values_by_hand(kind, moderate):
    """f = 5, y = 6, R = 16: (10 * 5 - 6)/16 = 2.75, (2 * 5 - 6)/16 = .25, (6 * 5 - 6)/16 = 1.5."""
    lilaw = LiLAW(loss=squared, target_range=16, regression_delta=kind)
    weight = lilaw.weights(torch.tensor([[5.0]]), torch.tensor([6.0]))
    assert weight.tolist() == pytest.approx([sigmoid(2.75) + sigmoid(-0.25) + moderate], abs=1e-6)


def test_the_sigmoid_is_for_values_only():
    """Classes and labels keep Eq. 4 and 34 whatever the option says."""
    one, other = (LiLAW(regression_delta=kind) for kind in ("gaussian", "sigmoid"))
    for target in (LABELS, torch.tensor([0, 1, 2])):
        assert torch.equal(one.weights(LOGITS.float(), target), other.weights(LOGITS.float(), target))


def scene(kind: str, seed: int):
    """Logits, target, per-sample loss and R of a random batch in float64."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "labels":
        target = (torch.rand(32, 6, generator=generator) < 0.3).long()  # some rows without a label
        return 2 * torch.randn(32, 6, dtype=torch.float64, generator=generator), target, bce, None
    value = 10 * torch.rand(32, dtype=torch.float64, generator=generator)
    return value[:, None] + torch.randn(32, 1, dtype=torch.float64, generator=generator), value, squared, 10.0


@pytest.mark.parametrize("kind, gaussian", [("labels", True), ("values", True), ("values", False)])
@pytest.mark.parametrize("seed", range(3))
def test_meta_gradient_is_autograds(kind, gaussian, seed):
    logits, target, loss, target_range = scene(kind, seed)
    params = torch.tensor([3.0, 1.5, 2.0], dtype=torch.float64, requires_grad=True)
    agreed = agreement(logits, target, target_range)
    weighted = (sum(weight_terms(*agreed, params, gaussian)) * loss(logits, target)).mean()
    (expected,) = torch.autograd.grad(weighted, params)
    gradient = meta_gradient(loss(logits, target), *agreed, params.detach(), gaussian)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
    assert gradient.abs().min() > 1e-6


@pytest.mark.parametrize("kind, delta", [("labels", "gaussian"), ("values", "gaussian"), ("values", "sigmoid")])
@pytest.mark.parametrize("scales", [False, True])
def test_meta_update_descends_by_autograds_gradient(kind, delta, scales):
    """Five parameters too: p - lr (g + wd p) with g of the whole weighted loss."""
    logits, target, loss, target_range = scene(kind, 5)
    options = {"loss": loss, "target_range": target_range, "regression_delta": delta, "scales": scales, "clamp": False}
    lilaw = LiLAW(3.0, 1.5, 2.0, lr=0.1, weight_decay=0.01, **options).double()
    lilaw.params.requires_grad_()
    leaves = [lilaw.params] + ([lilaw.theta.requires_grad_()] if scales else [])
    gradients = torch.autograd.grad(lilaw.weighted_loss(logits, target), leaves)
    expected = [p.detach() - 0.1 * (g + 0.01 * p.detach()) for p, g in zip(leaves, gradients, strict=True)]
    lilaw.params = lilaw.params.detach()
    if scales:
        lilaw.theta = lilaw.theta.detach()
    lilaw.meta_update(logits, target)
    # lr and weight decay were float32 numbers before .double()
    torch.testing.assert_close(lilaw.params, expected[0], rtol=1e-7, atol=1e-8)
    if scales:
        torch.testing.assert_close(lilaw.theta, expected[1], rtol=1e-7, atol=1e-8)


def test_the_models_gradient_flows_through_the_weights_unless_detached():
    for target, loss, inputs in ((LABELS, focal, LOGITS), (torch.tensor([1.0, 2.0, 9.0]), squared, LOGITS[:, :1])):
        gradients = []
        for detach in (False, True):
            logits = inputs.float().requires_grad_()
            lilaw = LiLAW(loss=loss, target_range=8.0, detach_weight=detach)
            lilaw.weighted_loss(logits, target).backward()
            gradients.append(logits.grad)
        assert not torch.allclose(*gradients)


def test_values_need_a_range():
    with pytest.raises(ValueError, match="give target_range"):
        LiLAW(loss=squared).weights(torch.zeros(2, 1), torch.zeros(2))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"target_range": 0}, "target_range is 0; it must be null or > 0"),
        ({"regression_delta": "cauchy"}, "it must be gaussian or sigmoid"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        LiLAW(**options)
