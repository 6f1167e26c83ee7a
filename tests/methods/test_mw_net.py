"""MW-Net against a batch worked by hand and a double backward in float64."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from lilawbench.loading.resident import Resident
from lilawbench.methods.mw_net import MWNet


def begun(context, model, rows, val, method, **options):
    """A method at the start of its first epoch, all in float64; the gradients that V gets; the batch of all rows."""
    ctx = context(model.train(), rows=rows, val=val, **options)
    method.setup(ctx)
    method.double()
    seen = []
    method.net.descend = lambda gradients: seen.extend(gradients)
    ctx.epoch, ctx.batch_size = 1, len(rows)
    method.on_epoch_start(ctx)
    ctx.meta = lambda size: val.batch(torch.arange(min(size, len(val))))
    return ctx, seen, ctx.fetch(torch.arange(len(rows)))


def test_two_samples_by_hand(context):
    """A net of two classes with weights 0, lr 1, and V = 1/2 for every loss. The gradients of the losses are (-1, 1)
    for x = 2, y = 0, and (1/2, -1/2) for x = 1, y = 1: the virtual step is -1/2 1/2 (-1/2, 1/2), to (1/8, -1/8).
    There the meta sample x = 1, y = 0 has p_0 = sigmoid(1/4) and, with c = 1 - p_0, the gradient (-c, c). So
    d meta / d v = -1/2 (2c, -c), and that of V's last bias, v (1 - v) = 1/4 times the sum, is -c/8.
    The virtual step is plain, though the run's optimiser has momentum and decay."""
    model = nn.Linear(1, 2, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    rows = Resident(torch.tensor([[2.0], [1.0]], dtype=torch.float64), torch.tensor([0, 1]))
    val = Resident(torch.ones(2, 1, dtype=torch.float64), torch.tensor([0, 0]))
    method = MWNet()
    ctx, seen, batch = begun(context, model, rows, val, method, num_classes=2, lr=1.0, momentum=0.9, weight_decay=0.3)
    for p in method.net.layers[2].parameters():
        nn.init.zeros_(p)
    out = method.loss(ctx, batch)
    assert out.weight.tolist() == [0.5, 0.5] and out.loss.item() == pytest.approx(math.log(2) / 2)
    c = 1 - 1 / (1 + math.exp(-1 / 4))
    assert seen[3].item() == pytest.approx(-c / 8)


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)]
    return nn.Sequential(*layers).double().train()


def by_double_backward(model, net, batch, val, lr, stream, normalise):
    """Eq. 5 and 6 line by line: a virtual step that keeps its graph, and the gradient of the meta loss at theta."""
    weights = dict(model.named_parameters())
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.set_rng_state(stream)
    logits = functional_call(model, weights | copy.deepcopy(buffers), (batch.input,))
    after = torch.get_rng_state()
    losses = F.cross_entropy(logits, batch.target, reduction="none")
    v = net(losses.detach())
    loss = (v * losses).sum() / (v.sum() if normalise else len(v))
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    virtual = {name: w - lr * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
    torch.set_rng_state(after)
    meta = F.cross_entropy(functional_call(model, virtual | buffers, (val.input,)), val.target)
    return torch.autograd.grad(meta, list(net.parameters()))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("how", ["jvp", "double_backward"])
def test_meta_gradients_are_those_of_a_double_backward(context, dozen, normalise, how):
    model, method = network(), MWNet(normalise=normalise, hypergradient=how)
    ctx, seen, batch = begun(context, model, dozen, dozen, method, lr=0.5, momentum=0.9, weight_decay=0.1)
    before, stream = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    out = method.loss(ctx, batch)
    moved = torch.get_rng_state()
    once = network()
    torch.set_rng_state(stream)
    losses = F.cross_entropy(once(batch.input), batch.target, reduction="none")
    assert torch.equal(moved, torch.get_rng_state())  # as one forward moves it
    torch.testing.assert_close(model.state_dict(), once.state_dict(), rtol=0, atol=0)
    model.load_state_dict(before)
    expected = by_double_backward(model, method.net, batch, dozen.batch(torch.arange(6)), 0.5, stream, normalise)
    torch.testing.assert_close(seen, list(expected), rtol=1e-10, atol=1e-14)
    assert all(gradient.norm() > 1e-6 for gradient in seen)
    v = method.net(losses.detach())
    expected_loss = (v * losses).sum() / v.sum() if normalise else (v * losses).mean()
    assert out.loss.item() == pytest.approx(expected_loss.item(), rel=1e-12)


def test_the_own_step_of_the_run_is_another_than_the_plain_one(context, dozen):
    """They are the same without momentum, decay and clipping."""
    for decay, same in ((0.0, True), (0.3, False)):
        found = []
        for inner in ("sgd", "optimizer"):
            method = MWNet(inner=inner)
            model = network()
            ctx, seen, batch = begun(context, model, dozen, dozen, method, lr=0.5, weight_decay=decay)
            torch.manual_seed(1)
            method.loss(ctx, batch)
            found.append(torch.cat([gradient.flatten() for gradient in seen]))
        assert torch.allclose(*found, rtol=1e-9) == same


def test_a_step_between_meta_steps_leaves_the_net(context, dozen):
    method = MWNet(meta_every_steps=2)
    ctx, seen, batch = begun(context, network(), dozen, dozen, method)
    for ctx.step, learns in ((0, True), (1, False), (2, True)):
        seen.clear()
        method.loss(ctx, batch)
        assert bool(seen) == learns


@pytest.mark.parametrize(
    "option, said",
    [
        ({"hidden": 0}, "hidden is 0; it must be a whole number >= 1"),
        ({"meta_every_steps": 0.5}, "meta_every_steps is 0.5; it must be a whole number >= 1"),
        ({"meta_batch_size": 1}, "meta_batch_size is 1; it must be a whole number >= 2"),
        ({"inner": "adam"}, r"inner is 'adam'; it must be one of \['sgd', 'optimizer'\]"),
        ({"lr": 0}, "lr is 0 and weight_decay 0.0001; they must be > 0 and >= 0"),
    ],
)
def test_values_out_of_range(option, said):
    with pytest.raises(ValueError, match=said):
        MWNet(**option)
