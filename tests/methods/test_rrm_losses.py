"""The losses that RRM re-weights by: a sweep, or those of the epoch's own batches; over any loss, ranks and all."""

import math
import threading

import pytest
import torch
from torch import nn

from lilawbench import losses as losses_group
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.losses import ELR, ce
from lilawbench.methods.rrm import RRM, reweight
from lilawbench.support.distributed import World
from lilawbench.support.errors import RunFailed

N = 12  # rows of the dozen


def restless():
    """BatchNorm and dropout."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()


def test_sweep_is_in_eval_mode_and_leaves_no_trace(scene, train):
    ctx, method = scene(RRM(0.3, mu=1.0, reweight_every_epochs=1), restless())
    train(ctx, method, 1)
    before = {name: value.clone() for name, value in ctx.model.state_dict().items()}
    stream = torch.get_rng_state()
    method.on_epoch_end(ctx)
    assert all(torch.equal(value, before[name]) for name, value in ctx.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream) and all(m.training for m in ctx.model.modules())
    assert all(p.grad is None for p in ctx.model.parameters())
    swept = ce(ctx.model.eval()(ctx.table.input), ctx.targets).detach().float()
    assert torch.equal(method.u, reweight(swept, 0.3)) and method.pruned.any()


def test_training_losses_are_those_of_the_epochs_own_batches(scene, monkeypatch):
    ctx, method = scene(RRM(0.3, mu=1.0, reweight_every_epochs=2, reweight_losses="training"))
    monkeypatch.setattr(Resident, "in_order", lambda *unused, **nothing: pytest.fail("no sweep is needed"))
    seen = torch.zeros(N)
    for ctx.epoch in (1, 2, 3, 4):
        method.on_epoch_start(ctx)
        for index in torch.arange(N).split(4):
            batch = ctx.fetch(index)
            seen[index] = ce(ctx.model(batch.input), batch.target).detach().float()
            train_step(ctx, method, batch, 0.5)
        method.on_epoch_end(ctx)
        if ctx.epoch == 2:  # as seen, not as they are now
            now = ce(ctx.model(ctx.table.input), ctx.targets).detach().float()
            assert torch.equal(method.u, reweight(seen, 0.3)) and not torch.equal(method.u, reweight(now, 0.3))
    assert torch.equal(method.u, reweight(seen, 0.3)) and method.pruned.any()  # the first round's weights are not in it


@pytest.mark.parametrize("mu", [0.5, 1.0])
def test_rows_not_seen_keep_their_weight_and_the_others_share_what_they_have(scene, mu):
    """Training losses of an epoch over half of the rows, others the next time: c_min is theirs, in float64 by hand."""
    ctx, method = scene(RRM(0.3, mu=mu, reweight_every_epochs=1, reweight_losses="training"))
    u = torch.zeros(N, dtype=torch.float64)
    for ctx.epoch, seen in enumerate((torch.arange(0, N, 2), torch.arange(N // 2), torch.arange(N)), start=1):
        method.on_epoch_start(ctx)
        losses = torch.zeros(N, dtype=torch.float32)
        for index in seen.split(3):
            batch = ctx.fetch(index)
            losses[index] = ce(ctx.model(batch.input), batch.target).detach().float()
            train_step(ctx, method, batch, 0.5)
        method.on_epoch_end(ctx)
        c, mass = losses[seen], (1 / N + u[seen]).sum()
        pruned = c > c.min() + 0.3
        assert 0 < pruned.sum() < len(seen)
        best = torch.full((len(seen),), mass / len(seen), dtype=torch.float64)  # weights p of those seen
        best[pruned] = 0.0
        best[c.argmin()] += mass - best.sum()
        u[seen] = mu * (best - 1 / N) + (1 - mu) * u[seen]
        torch.testing.assert_close(method.u, u, rtol=0, atol=1e-15)
        assert method.u.sum().abs() < 1e-15 and method.u.min() >= -1 / N


def any_loss(name):
    options = {"matrix": (torch.eye(3) * 0.7 + 0.1).tolist()} if "Correction" in name else {}
    loss = getattr(losses_group, name)
    return loss(**options) if isinstance(loss, type) else loss


@pytest.mark.parametrize("name", sorted(set(losses_group.__all__) - {"bce", "squared"}))
def test_it_wraps_any_loss_of_the_group(scene, train, name):
    ctx, method = scene(RRM(contamination=0.25, reweight_every_epochs=1, loss=any_loss(name)))
    train(ctx, method, 1, 2)
    table = ctx.fetch(torch.arange(N))
    with torch.no_grad():
        losses = method.sample_losses(ctx.model(table.input), table, update=False)
    assert losses.isfinite().all() and torch.equal(method.u, reweight(losses.float(), contamination=0.25))
    assert (method.u < 0).sum() == 3


def test_sweep_teaches_elr_nothing(scene, train):
    ctx, method = scene(RRM(0.3, reweight_every_epochs=2, loss=ELR()))
    train(ctx, method, 1)
    table = method.per_sample.t.clone()
    ctx.epoch = 2
    method.on_epoch_end(ctx)
    assert table.any() and torch.equal(method.per_sample.t, table) and method.round == 1


def test_losses_that_are_not_finite_end_the_run(scene):
    ctx, method = scene(RRM(reweight_every_epochs=2))
    nn.init.constant_(ctx.model.weight, math.nan)
    ctx.epoch = 4
    with pytest.raises(RunFailed, match="re-weighting after epoch 4: losses are nan to nan over 12 samples.*train.lr"):
        method.on_epoch_end(ctx)


@pytest.mark.parametrize("reweight_losses", ["sweep", "training"])
def test_two_ranks_agree_with_one_process(scene, reweight_losses):
    """Threads that add up as all_reduce does. The last batch has too few rows to share: both ranks do them all."""

    class Pair(World):
        def sum_(self, tensor):
            parts[self.rank] = tensor.clone()
            barrier.wait(10)
            tensor.copy_(parts[0] + parts[1])
            barrier.wait(10)
            return tensor

    def work(method, world, model):
        ctx, method = scene(method, model)
        ctx.world, ctx.epoch = world, 1
        method.on_epoch_start(ctx)
        for index in torch.arange(N).split([9, 3]):
            method.loss(ctx, ctx.fetch(world.share(index)))
        method.on_epoch_end(ctx)

    parts, barrier, model = [None, None], threading.Barrier(2), nn.Linear(4, 3, dtype=torch.float64)
    one, *two = (RRM(0.3, reweight_every_epochs=1, reweight_losses=reweight_losses) for _ in range(3))
    work(one, World(), model)
    ranks = [threading.Thread(target=work, args=(two[i], Pair(i, 2), model), daemon=True) for i in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(20)
    assert one.pruned.any() and all(torch.equal(method.u, one.u) for method in two)
