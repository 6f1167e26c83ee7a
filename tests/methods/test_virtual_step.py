"""The virtual step against the optimiser's own, its pull against autograd; nothing is touched."""

import copy

import pytest
import torch
from torch import nn

from lilawbench.methods.parts.virtual_step import virtual_step

LR = 0.1
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}),
    "decay": (torch.optim.SGD, {"weight_decay": 0.05}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.05}),
    "dampening": (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    "adam": (torch.optim.Adam, {"weight_decay": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.05, "eps": 1e-3}),
}


def scene(name, steps, implementation=None):
    """Three parameters, the second never trained (no gradient), an optimiser after `steps` steps, fresh gradients."""
    torch.manual_seed(0)
    kind, options = OPTIMIZERS[name]
    parameters = [nn.Parameter(torch.randn(4, 3, dtype=torch.float64)) for _ in range(3)]
    optimizer = kind(parameters, LR, **options, **({implementation: True} if implementation else {}))
    for _ in range(steps):
        for p in (parameters[0], parameters[2]):
            p.grad = torch.randn_like(p)
        optimizer.step()
    gradients = [torch.randn(4, 3, dtype=torch.float64) for _ in range(3)]
    gradients[1] = None
    optimizer.zero_grad()
    return parameters, optimizer, gradients


@pytest.mark.parametrize("clip", [None, 0.5, 1e3], ids=["no clipping", "clipped", "not reached"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_are_those_of_the_real_step(name, clip):
    for steps in (0, 1, 4):
        parameters, optimizer, gradients = scene(name, steps)
        before = copy.deepcopy((parameters, optimizer.state_dict()))
        weights, _ = virtual_step(optimizer, parameters, gradients, clip)
        torch.testing.assert_close((parameters, optimizer.state_dict()), before, rtol=0, atol=0)
        for p, gradient in zip(parameters, gradients):
            p.grad = gradient
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        for ours, p, old in zip(weights, parameters, before[0]):
            torch.testing.assert_close(ours.detach(), p.detach(), rtol=1e-12, atol=1e-12)
            assert torch.equal(p, old) == (p.grad is None)


@pytest.mark.parametrize("clip", [None, 0.5, 1e3], ids=["no clipping", "clipped", "not reached"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pull_is_minus_the_transposed_derivative(name, clip):
    for steps in (0, 1, 4):
        parameters, optimizer, gradients = scene(name, steps)
        leaves = [None if g is None else g.requires_grad_() for g in gradients]
        weights, pull = virtual_step(optimizer, parameters, leaves, clip)
        v = [torch.randn_like(w) for w in weights]
        ours = pull(v)
        assert ours[1] is None
        with_gradient = [leaves[0], leaves[2]]
        expected = torch.autograd.grad([weights[0], weights[2]], with_gradient, [v[0], v[2]])
        torch.testing.assert_close([-ours[0], -ours[2]], list(expected), rtol=1e-10, atol=1e-12)
        # against a difference quotient too, as autograd went through the same formulas
        direction = [torch.randn_like(g) for g in with_gradient]
        ends = []
        for h in (1e-6, -1e-6):
            moved = [leaves[0].detach() + h * direction[0], None, leaves[2].detach() + h * direction[1]]
            ends.append(
                sum((a * w.detach()).sum() for a, w in zip(v, virtual_step(optimizer, parameters, moved, clip)[0]))
            )
        slope = sum((a * d).sum() for a, d in zip((ours[0], ours[2]), direction))
        assert ((ends[0] - ends[1]) / 2e-6).item() == pytest.approx(-slope.item(), rel=2e-5, abs=1e-7)


@pytest.mark.parametrize(
    "name, kappa", [("sgd", 1), ("momentum", 1), ("dampening", 0.7), ("nesterov", 1.9), ("decay", 1)]
)
def test_kappa_of_sgd(name, kappa):
    """lr 1 for momentum and decay, 1 - dampening, 1 + momentum for Nesterov; the first step is undampened."""
    parameters, optimizer, gradients = scene(name, steps=2)
    ones = [torch.ones(4, 3)] * 3
    assert virtual_step(optimizer, parameters, gradients)[1](ones)[0].unique().item() == pytest.approx(LR * kappa)
    parameters, optimizer, gradients = scene(name, steps=0)
    first = 1.9 if name == "nesterov" else 1
    assert virtual_step(optimizer, parameters, gradients)[1](ones)[0].unique().item() == pytest.approx(LR * first)


@pytest.mark.parametrize("implementation", ["fused", "foreach"])
@pytest.mark.parametrize("name", ["nesterov", "adam"])
def test_any_implementation_of_the_optimizer(name, implementation):
    states = [scene(name, 3, which) for which in (None, implementation)]
    weights = [virtual_step(optimizer, parameters, gradients)[0] for parameters, optimizer, gradients in states]
    for ours, expected in zip(*weights):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_groups_have_their_own_options_and_strangers_stay_but_count_in_the_norm():
    """Clipping at 1 of gradients (3, 4, 12), norm 13; lr 1 and .5; the third parameter is not the optimiser's."""
    parameters = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(3)]
    optimizer = torch.optim.SGD([{"params": parameters[:1]}, {"params": parameters[1:2], "lr": 0.5}], lr=1.0)
    gradients = [torch.tensor([g], dtype=torch.float64) for g in (3.0, 4.0, 12.0)]
    weights, pull = virtual_step(optimizer, parameters, gradients, clip_grad_norm=1.0)
    assert [w.item() for w in weights] == pytest.approx([-3 / 13, -2 / 13, 0], rel=1e-6)
    pulled = [v.item() for v in pull([torch.ones(1, dtype=torch.float64)] * 3)]
    # v' = (1, .5, 0), <g, v'> = 5:  (v' - g 5 / 169) / 13
    assert pulled == pytest.approx([(1 - 15 / 169) / 13, (0.5 - 20 / 169) / 13, -60 / 169 / 13], rel=1e-6)


def test_adam_without_any_gradient_so_far_has_finite_slopes():
    parameters, _, gradients = scene("adam", steps=0)
    zeros = [None if g is None else torch.zeros_like(g).requires_grad_() for g in gradients]
    weights, pull = virtual_step(torch.optim.Adam(parameters, LR), parameters, zeros)
    (slope,) = torch.autograd.grad(weights[0].sum(), zeros[0])
    assert slope.isfinite().all() and pull([torch.ones(4, 3)] * 3)[0].isfinite().all()


@pytest.mark.parametrize(
    "optimizer, message",
    [
        (lambda p: torch.optim.RMSprop(p, LR), "the optimizer is RMSprop; a look-ahead knows SGD, Adam and AdamW"),
        (lambda p: torch.optim.Adam(p, LR, amsgrad=True), "amsgrad=True"),
        (lambda p: torch.optim.SGD(p, LR, maximize=True), "maximize=True"),
    ],
)
def test_other_optimizers_are_refused(optimizer, message):
    parameters, _, gradients = scene("sgd", 0)
    with pytest.raises(ValueError, match=message):
        virtual_step(optimizer(parameters), parameters, gradients)
