"""LiLAW in a training loop: ours (warm-up, meta steps, checkpoints) and a stranger's."""

import copy
import io
from itertools import pairwise

import pytest
import torch
from torch import nn

from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import MetaLoader
from lilawbench.loading.resident import Resident
from lilawbench.losses import ce, focal
from lilawbench.methods.base import StepOutput
from lilawbench.methods.lilaw import LiLAW


def batch(size=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    input, target = torch.randn(size, 4, generator=random), torch.randint(0, 3, (size,), generator=random)
    return Batch(torch.arange(size), input, target)


def linear(seed=0, *more):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), *more)


@pytest.fixture
def val():
    """Forty validation rows."""
    rows = batch(40, seed=100)
    return Resident(rows.input, rows.target)


@pytest.fixture
def asked(monkeypatch):
    """Sizes of the validation batches that were asked for."""
    sizes, drawn = [], MetaLoader.__call__
    monkeypatch.setattr(MetaLoader, "__call__", lambda self, size: sizes.append(size) or drawn(self, size))
    return sizes


def step(lilaw, ctx, data):
    """One step as the loop makes it, without moving the model."""
    out = lilaw.loss(ctx, data)
    ctx.step += 1
    lilaw.after_step(ctx, data, out)
    return out


@pytest.mark.parametrize("warmup_epochs", [0, 1, 3])
def test_warm_up_is_plain_loss_without_meta_steps(warmup_epochs, context, val, asked):
    lilaw = LiLAW(loss=focal, warmup_epochs=warmup_epochs)
    ctx, data = context(linear(), val=val), batch()
    for ctx.epoch in range(1, 5):
        lilaw.on_epoch_start(ctx)
        before = lilaw.trace()[1].clone()
        logits = ctx.forward(data.input)
        weighted = (lilaw.weights(logits, data.target) * focal(logits, data.target)).mean()
        out = step(lilaw, ctx, data)
        if ctx.epoch <= warmup_epochs:
            torch.testing.assert_close(out.loss, focal(logits, data.target).mean())
            assert out.weight is None and torch.equal(lilaw.trace()[1], before) and not asked
        else:
            torch.testing.assert_close(out.loss, weighted)
            assert (lilaw.trace()[1] != before).all()
    assert asked == [ctx.full_batch_size] * (4 - warmup_epochs)


def test_step_output_carries_logits_and_weights_without_a_graph(context, val):
    lilaw, ctx, data = LiLAW(), context(linear(), val=val), batch()
    out = lilaw.loss(ctx, data)
    logits = ctx.forward(data.input)
    assert isinstance(out, StepOutput) and out.loss.requires_grad and out.loss.shape == ()
    assert not out.logits.requires_grad and not out.weight.requires_grad
    torch.testing.assert_close(out.logits, logits.detach())
    torch.testing.assert_close(out.weight, lilaw.weights(logits, data.target).detach())


def test_meta_every_steps_counts_the_whole_run(context, val):
    lilaw = LiLAW(meta_every_steps=3, warmup_epochs=0)
    ctx, moved = context(linear(), val=val), []
    for _ in range(9):
        before = lilaw.trace()[1].clone()
        step(lilaw, ctx, batch())
        moved.append(bool((lilaw.trace()[1] != before).any()))
    assert moved == [False, False, True] * 3


def test_meta_batch_is_as_large_as_a_full_training_batch(context, val, asked):
    """An epoch's last batch may have fewer rows, or one more."""
    lilaw, ctx = LiLAW(warmup_epochs=0), context(linear(), val=val)
    for size in (6, 7, 2):
        ctx.batch_size = size
        step(lilaw, ctx, batch(size))
    assert asked == [6, 6, 6]


def test_meta_mode_is_the_mode_of_the_validation_forward(context, val):
    """With BatchNorm and dropout the two differ; each equals a forward by hand."""
    model = linear(0, nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    after = {}
    for mode in ("eval", "train"):
        lilaw, by_hand = LiLAW(meta_mode=mode, warmup_epochs=0), LiLAW()
        ctx, twin, first = context(model, val=val), copy.deepcopy(model), MetaLoader(val, 0)(6)
        torch.manual_seed(5)
        lilaw.after_step(ctx, batch(), None)
        torch.manual_seed(5)
        by_hand.meta_update(twin.train(mode == "train")(first.input), first.target)
        assert torch.equal(lilaw.trace()[1], by_hand.trace()[1])
        after[mode] = lilaw.trace()[1]
    assert (after["eval"] != after["train"]).all()


def test_meta_step_depends_on_no_gradient_and_leaves_none(context, val):
    model = linear()
    ctx, lilaw = context(model, val=val), LiLAW(warmup_epochs=0)
    before = copy.deepcopy(model.state_dict())
    step(lilaw, ctx, batch())
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("scales", [False, True])
def test_state_dict_round_trip(scales):
    trained, fresh = (LiLAW(scales=scales) for _ in range(2))
    for seed in range(3):
        trained.meta_update(batch(seed=seed).input[:, :3], batch(seed=seed).target)
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh.trace()[1], trained.trace()[1])
    assert (fresh.trace()[1] != LiLAW(scales=scales).trace()[1]).all()
    for lilaw in (trained, fresh):
        lilaw.meta_update(batch(seed=9).input[:, :3], batch(seed=9).target)
    assert torch.equal(fresh.trace()[1], trained.trace()[1])


def test_traced_values_do_not_change_afterwards():
    lilaw, data = LiLAW(), batch()
    traced = [lilaw.trace()[1]]
    for _ in range(3):
        lilaw.meta_update(data.input[:, :3], data.target)
        traced.append(lilaw.trace()[1])
    assert traced[0].tolist() == [10, 2, 6]
    assert all((a != b).any() for a, b in pairwise(traced))


@pytest.mark.parametrize("scales", [False, True])
def test_meta_update_between_loss_and_backward_does_no_harm(scales):
    lilaw, data = LiLAW(scales=scales), batch()
    grads = []
    for update in (False, True):
        logits = data.input[:, :3].clone().requires_grad_()
        loss = lilaw.weighted_loss(logits, data.target)
        if update:
            lilaw.meta_update(logits, data.target)
        loss.backward()
        grads.append(logits.grad)
    assert torch.equal(*grads)


def test_in_a_strangers_loop():
    model, lilaw = linear(), LiLAW()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    train, val = batch(64), batch(16, seed=1)
    train, val = (b._replace(target=b.input[:, :3].argmax(1)) for b in (train, val))
    first = ce(model(train.input), train.target).mean().item()
    for _ in range(60):
        loss = lilaw.weighted_loss(model(train.input), train.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lilaw.meta_update(model(val.input), val.target)
    assert ce(model(train.input), train.target).mean().item() < first / 2
    assert lilaw.alpha < 10 and lilaw.beta > 2 and lilaw.delta != 6
    assert not lilaw.delta.requires_grad


def test_it_trains_nothing_by_autograd():
    """alpha, beta, delta are state, not parameters of the model's optimiser."""
    assert not list(LiLAW(scales=True).parameters())
    assert LiLAW.uses_meta


@pytest.mark.parametrize("scales", [False, True])
def test_frozen_parameters_weigh_as_constants_do_and_ask_for_no_meta_batch(scales, context, val, asked):
    """lr 0, clamp or not: beta 9 above delta 6 stays, though a learned delta would follow it."""
    frozen, ctx, data = LiLAW(10, 9, 6, lr=0, scales=scales, warmup_epochs=0), context(linear(), val=val), batch()
    ctx.epoch = 1
    frozen.on_epoch_start(ctx)
    for _ in range(3):
        logits = ctx.forward(data.input)
        s = logits.softmax(1)
        given, best = s[range(6), data.target], s.max(1).values
        w = (
            torch.sigmoid(10 * given - best)
            + torch.sigmoid(best - 9 * given)
            + torch.exp(-((6 * given - best) ** 2) / 2)
        )
        torch.testing.assert_close(step(frozen, ctx, data).loss, (w * ce(logits, data.target)).mean())
    assert frozen.trace()[1].tolist() == [10, 9, 6, *([1, 1, 1] if scales else [])] and not asked
    assert frozen.never_acts(4, 10) == []


def test_a_parameter_alone_can_be_frozen():
    """delta stays 6 while beta rises past it, and alpha moves as it does where all are learned."""
    data = batch(20)
    one, all_of_them = (LiLAW(10, 5.999, 6, lr=lr, weight_decay=0.0) for lr in ([0.5, 0.5, 0], 0.5))
    for lilaw in (one, all_of_them):
        lilaw.meta_update(3 * data.input[:, :3], data.target)
    assert one.delta == 6 < one.beta == all_of_them.beta == all_of_them.delta
    assert one.alpha == all_of_them.alpha < 10
