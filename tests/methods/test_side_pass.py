"""A side pass leaves no trace in model, buffers, flags or random stream; a plain forward does."""

import copy

import pytest
import torch
from torch import nn

from lilawbench.models.finetune import finetune

INPUT = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)) + 3


def build():
    """BatchNorm and dropout, nested, with one module that appears twice."""
    shared = nn.BatchNorm1d(4)
    return nn.Sequential(
        shared,
        nn.Linear(4, 4),
        shared,
        nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4), nn.BatchNorm1d(4)),
        nn.Dropout(0.2),
    )


def flags(model):
    return [module.training for module in model.modules()]


def set_flags(model, how):
    model.train(how != "eval")
    if how == "mixed":  # as with a frozen backbone: normalisation in eval mode, the rest in train mode
        model[0].eval()
        model[3][2].eval()


def assert_untouched(model, state, marks, stream):
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert flags(model) == marks
    assert torch.equal(torch.get_rng_state(), stream)
    assert torch.is_grad_enabled()


def snapshot(model):
    return copy.deepcopy(model.state_dict()), flags(model), torch.get_rng_state()


@pytest.mark.parametrize("how", ["train", "eval", "mixed"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_side_pass_leaves_no_trace(mode, how, context):
    model = build()
    set_flags(model, how)
    ctx, before = context(model), snapshot(model)
    with ctx.side_pass(mode):
        assert not torch.is_grad_enabled()
        assert flags(model) == ([False] * len(before[1]) if mode == "eval" else before[1])
        outputs = [ctx.forward(INPUT) for _ in range(2)]
    assert not any(output.requires_grad for output in outputs)
    assert_untouched(model, *before)
    assert all(p.grad is None for p in model.parameters())
    same = torch.equal(*outputs)
    assert same == (mode == "eval" or how == "eval")  # train mode really drew dropout masks


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_an_error_inside_leaves_no_trace_either(mode, context):
    model = build().train()
    ctx, before = context(model), snapshot(model)
    with pytest.raises(RuntimeError, match="stop"), ctx.side_pass(mode):
        ctx.forward(INPUT)
        raise RuntimeError("stop")
    assert_untouched(model, *before)


def test_eval_forward_uses_the_running_statistics(context):
    model = build().train()
    twin = copy.deepcopy(model).eval()
    with context(model).side_pass():
        assert torch.equal(model(INPUT), twin(INPUT).detach())


def test_a_plain_forward_in_train_mode_does_leave_traces(context):
    """The negative control: no_grad alone protects neither BatchNorm nor the random stream."""
    model = build().train()
    state, _, stream = snapshot(model)
    with torch.no_grad():
        context(model).forward(INPUT)
    assert not torch.equal(model[0].running_mean, state["0.running_mean"])
    assert model[0].num_batches_tracked == 2
    assert not torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_training_goes_on_as_if_nothing_had_happened(mode, context):
    """Three steps with a side pass after each equal three without, to the bit."""
    states = []
    for aside in (False, True):
        torch.manual_seed(1)
        model = build().train()
        ctx = context(model)
        for _ in range(3):
            ctx.optimizer.zero_grad()
            model(INPUT).square().mean().backward()
            ctx.optimizer.step()
            if aside:
                with ctx.side_pass(mode):
                    ctx.forward(INPUT + 1)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_eval_pass_between_forward_and_backward(context):
    grads = []
    for aside in (False, True):
        torch.manual_seed(1)
        model = build().train()
        loss = model(INPUT).square().mean()
        if aside:
            with context(model).side_pass():
                model(INPUT + 1)
        loss.backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_train_mode_between_forward_and_backward_harms_neither(context):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    ctx, x = context(model), torch.randn(8, 4)
    loss = model(x).square().sum()
    with ctx.side_pass("train"):
        model(x)
    loss.backward()
    assert model[0].weight.grad.isfinite().all()


def test_frozen_modules_are_left_alone(context):
    """A probe's are in eval mode for good: a side pass of a ViT's head need not look at two hundred of them."""
    model = finetune(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 3)), "linear_probe"
    )
    model.train()
    ctx, before = context(model), snapshot(model)
    assert [module for module in model.modules() if module not in ctx._modules] == [model[0], model[1]]
    with ctx.side_pass():
        assert not any(flags(model))
    assert_untouched(model, *before)
