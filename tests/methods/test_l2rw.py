"""L2RW against a batch worked by hand and a double backward in float64; what it does where nothing helps."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from lilawbench.loading.resident import Resident
from lilawbench.methods.l2rw import L2RW


def begun(context, model, rows, val, method=None, **options):
    """A method at the start of its first epoch, and the batch of all rows."""
    method = method or L2RW()
    ctx = context(model.train(), rows=rows, val=val, num_classes=options.pop("num_classes", 3), **options)
    method.setup(ctx)
    ctx.epoch, ctx.batch_size = 1, len(rows)
    method.on_epoch_start(ctx)
    return ctx, method, ctx.fetch(torch.arange(len(rows)))


def linear(weight=0.0):
    """Two classes, one number, no bias."""
    model = nn.Linear(1, 2, bias=False, dtype=torch.float64)
    nn.init.constant_(model.weight, weight)
    return model


def test_three_samples_by_hand(context):
    """With weights 0 both classes have p = 1/2, and the gradient of a loss is x (p - onehot):
    x = 1, y = 0 gives (-1/2, 1/2); x = 1, y = 1 gives (1/2, -1/2); x = 2, y = 0 gives (-1, 1).
    The meta sample x = 1, y = 0 has (-1/2, 1/2), so the products with it are 1/2, -1/2, 1,
    the weights (1/3, 0, 2/3), and the step's gradient 1/3 (-1/2, 1/2) + 2/3 (-1, 1) = (-5/6, 5/6)."""
    rows = Resident(torch.tensor([[1.0], [1.0], [2.0]], dtype=torch.float64), torch.tensor([0, 1, 0]))
    val = Resident(torch.ones(2, 1, dtype=torch.float64), torch.tensor([0, 0]))
    ctx, method, batch = begun(context, linear(), rows, val, num_classes=2)
    out = method.loss(ctx, batch)
    torch.testing.assert_close(out.weight / 3, torch.tensor([1 / 3, 0, 2 / 3], dtype=torch.float64))
    out.loss.backward()
    assert ctx.model.weight.grad[:, 0].tolist() == pytest.approx([-5 / 6, 5 / 6])


def test_where_no_sample_helps_the_step_has_no_gradient(context):
    rows = Resident(torch.ones(3, 1, dtype=torch.float64), torch.tensor([1, 1, 1]))
    val = Resident(torch.ones(2, 1, dtype=torch.float64), torch.tensor([0, 0]))
    ctx, method, batch = begun(context, linear(), rows, val, num_classes=2)
    out = method.loss(ctx, batch)
    out.loss.backward()
    assert out.weight.tolist() == [0, 0, 0] and ctx.model.weight.grad.tolist() == [[0], [0]]


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)]
    return nn.Sequential(*layers).double().train()


def by_double_backward(model, batch, val, lr, stream):
    """Algorithm 1 line by line: eps = 0, a virtual step that keeps its graph, the gradient of the meta loss at eps."""
    weights = dict(model.named_parameters())
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    eps = torch.zeros(len(batch.target), dtype=torch.float64, requires_grad=True)
    torch.set_rng_state(stream)
    logits = functional_call(model, weights | copy.deepcopy(buffers), (batch.input,))
    after = torch.get_rng_state()
    loss = (eps * F.cross_entropy(logits, batch.target, reduction="none")).sum()
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    virtual = {name: w - lr * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
    torch.set_rng_state(after)
    meta = F.cross_entropy(functional_call(model, virtual | buffers, (val.input,)), val.target)
    helps = (-torch.autograd.grad(meta, eps)[0]).clamp(min=0)
    return helps / helps.sum()


@pytest.mark.parametrize("lr", [0.01, 1.0])
def test_weights_are_those_of_a_double_backward_whatever_the_learning_rate(context, dozen, lr):
    model = network()
    ctx, method, batch = begun(context, model, dozen, dozen, momentum=0.9, weight_decay=0.1)
    ctx.meta = lambda size: dozen.batch(torch.arange(size))
    before, stream = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    out = method.loss(ctx, batch)
    moved = torch.get_rng_state()
    once = network()
    torch.set_rng_state(stream)
    once(batch.input)
    assert torch.equal(moved, torch.get_rng_state())  # as one forward moves it
    torch.testing.assert_close(model.state_dict(), once.state_dict(), rtol=0, atol=0)
    model.load_state_dict(before)
    expected = by_double_backward(model, batch, dozen.batch(torch.arange(6)), lr, stream)
    assert 2 < (expected > 0).sum() < 12
    torch.testing.assert_close(out.weight / 12, expected, rtol=0, atol=1e-10)


def test_finite_differences_are_near(context, dozen):
    found = []
    for how in ("jvp", "finite_difference"):
        torch.manual_seed(1)
        ctx, method, batch = begun(context, network(), dozen, dozen, L2RW(hypergradient=how))
        found.append(method.loss(ctx, batch).weight)
    assert 1e-9 < (found[0] - found[1]).abs().max() < 0.05


def test_values_of_each_row(context, dozen):
    """Weights of the last step and their mean over epochs; rows that no step saw keep what they have."""
    ctx, method, _ = begun(context, network(), dozen, dozen)
    weights = []
    for ctx.epoch in (1, 2):
        method.on_epoch_start(ctx)
        batch = ctx.fetch(torch.arange(6))
        ctx.batch_size = 6
        out = method.loss(ctx, batch)
        method.after_step(ctx, batch, out)
        method.on_epoch_end(ctx)
        weights.append(out.weight.float())
    values = method.sample_values()
    torch.testing.assert_close(values["last_weight"][:6], weights[1])
    torch.testing.assert_close(values["mean_weight"][:6], (weights[0] + weights[1]) / 2)
    assert values["last_weight"][6:].tolist() == values["mean_weight"][6:].tolist() == [1] * 6


@pytest.mark.parametrize(
    "option, said",
    [
        ({"meta_batch_size": 1}, "meta_batch_size is 1; it must be null or a whole number >= 2"),
        ({"meta_mode": "test"}, "meta_mode is 'test'; it must be train or eval"),
        ({"hypergradient": "exact"}, r"hypergradient is 'exact'; it must be one of \['jvp', 'finite_difference'\]"),
    ],
)
def test_values_out_of_range(option, said):
    with pytest.raises(ValueError, match=said):
        L2RW(**option)
