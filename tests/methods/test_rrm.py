"""RRM as a method: its weighted loss, its rounds and its state, against the algorithm by hand."""

import io
import json
import math
import threading

import numpy as np
import pytest
import torch
from torch import nn

from lilawbench import losses as losses_group
from lilawbench.engine.loop import train_step
from lilawbench.loading.batch import Batch
from lilawbench.losses import ELR, ce, mse
from lilawbench.methods.rrm import RRM, reweight
from lilawbench.methods.supervised import Supervised
from lilawbench.metrics.per_sample import per_sample
from lilawbench.record.recorder import Recorder
from lilawbench.support.distributed import World
from lilawbench.support.errors import RunFailed
from lilawbench.train import run

RANDOM = torch.Generator().manual_seed(0)
N = 12
TABLE = Batch(
    torch.arange(N),
    torch.randn(N, 4, dtype=torch.float64, generator=RANDOM),
    torch.randint(0, 3, (N,), generator=RANDOM),
)


def rows(index, table=TABLE):
    return Batch(*(part[index] for part in table))


def scene(context, method, model=None, table=TABLE):
    """A run of `method` on the table: (ctx, method)."""
    if model is None:
        torch.manual_seed(0)
        model = nn.Linear(4, 3, dtype=torch.float64)
    ctx = context(model.train())
    ctx.num_train, ctx.targets = len(table.target), table.target
    ctx.sweep = lambda: (rows(part, table) for part in torch.arange(len(table.target)).split(5))
    method.setup(ctx)
    return ctx, method


def train(ctx, method, *epochs, lr=0.5, batch_size=4):
    """The loop without its bookkeeping."""
    for ctx.epoch in epochs:
        method.on_epoch_start(ctx)
        for index in torch.randperm(N, generator=torch.Generator().manual_seed(ctx.epoch)).split(batch_size):
            ctx.batch_size = len(index)
            train_step(ctx, method, rows(index), lr)
        method.on_epoch_end(ctx)


def weights_of(ctx):
    return torch.cat([p.detach().flatten() for p in ctx.model.parameters()])


class Dictated(nn.Module):
    """A model whose first logit is its input, so that `first_logit` as loss is what the test says."""

    def __init__(self):
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, input):
        return input + self.zero


def first_logit(logits, target):
    return logits[:, 0]


def dictate(context, method, *rounds):
    """Re-weights once for each list of losses."""
    table = Batch(torch.arange(len(rounds[0])), torch.tensor(rounds[0])[:, None], torch.zeros(len(rounds[0])).long())
    ctx, method = scene(context, method, Dictated(), table)
    for ctx.epoch, losses in enumerate(rounds, start=1):
        table.input.copy_(torch.tensor(losses)[:, None])
        method.on_epoch_start(ctx)
        method.on_epoch_end(ctx)
    return method


@pytest.mark.parametrize("loss", [ce, mse])
@pytest.mark.parametrize("loss_scale", ["mean", "paper"])
def test_batch_loss_by_hand(context, loss, loss_scale):
    ctx, method = scene(context, RRM(loss_scale=loss_scale, loss=loss))
    method.u[:4] = torch.tensor([-1, -0.5, 0.25, 1.25], dtype=torch.float64) / N
    method.on_epoch_start(ctx)
    batch = rows(torch.tensor([3, 0, 7, 1, 2]))
    ctx.batch_size = 10  # this rank has half of it
    method.before_step(ctx, batch)
    out, logits = method.loss(ctx.forward, batch), ctx.forward(batch.input)
    l0, l1, l2, l3, l4 = loss(logits, batch.target)
    total = 2.25 * l0 + 0 * l1 + 1 * l2 + 0.5 * l3 + 1.25 * l4
    expected = total / 5 if loss_scale == "mean" else 2 * total / N  # of which the mean over the ranks is taken
    torch.testing.assert_close(out.loss, expected, rtol=1e-12, atol=0)
    assert out.weight.tolist() == [2.25, 0, 1, 0.5, 1.25]
    torch.testing.assert_close(out.logits, logits.detach())
    assert out.loss.requires_grad and not out.logits.requires_grad


def test_loss_scale_paper_is_mean_at_a_smaller_learning_rate(context):
    """lr_mean = lr_paper B / N, with the same weights from re-weighting after every epoch."""
    mean, paper = (scene(context, RRM(0.3, reweight_every_epochs=1, loss_scale=s)) for s in ("mean", "paper"))
    start = weights_of(mean[0])
    train(*mean, 1, 2, 3, lr=0.5)
    train(*paper, 1, 2, 3, lr=0.5 * N / 4)
    assert mean[1].pruned.any() and torch.equal(mean[1].u, paper[1].u)
    assert (weights_of(mean[0]) - start).abs().max() > 0.1
    torch.testing.assert_close(weights_of(mean[0]), weights_of(paper[0]), rtol=0, atol=1e-12)


def test_until_it_reweights_it_is_plain_training(context):
    rrm, plain = scene(context, RRM(0.3, reweight_every_epochs=3)), scene(context, Supervised())
    for epoch in range(1, 6):
        train(*rrm, epoch)
        train(*plain, epoch)
        assert torch.equal(weights_of(rrm[0]), weights_of(plain[0])) == (epoch <= 3)


def test_it_reweights_after_every_sigma_epochs_exactly(context):
    (ctx, method), rounds = scene(context, RRM(0.3, reweight_every_epochs=2)), []
    for epoch in range(1, 6):
        before = method.u
        train(ctx, method, epoch)
        rounds.append(method.logs()["reweightings"])
        assert torch.equal(before, method.u) == (epoch % 2 == 1)
    assert rounds == [0, 1, 1, 2, 2]


def test_mixing_by_hand(context):
    """gamma .4, mu .5. Losses (0, .3, 1): u* = (1, 0, -1)/3, u = (2, 0, -2)/12. Then (0, 1, .3): u* = (1, -1, 0)/3,
    u = (3, -2, -1)/12, so N p = (1.75, .5, .75)."""
    method = dictate(context, RRM(0.4, mu=0.5, reweight_every_epochs=1, loss=first_logit), [0, 0.3, 1], [0, 1, 0.3])
    assert method.u.tolist() == pytest.approx([3 / 12, -2 / 12, -1 / 12], abs=1e-15)
    values = method.sample_values()
    assert values["weight"].tolist() == pytest.approx([1.75, 0.5, 0.75])
    assert values["lowest_weight"].tolist() == pytest.approx([1, 0.5, 0.5])
    assert values["pruned"].tolist() == [False, True, False]
    assert method.logs() == {"reweightings": 2, "pruned": pytest.approx(1 / 3)}


def test_contamination_sets_mu_to_one(context):
    rounds = [0, 0.3, 1, 2.0], [0, 2, 0.3, 1.0]
    method = dictate(context, RRM(contamination=0.5, mu=0.5, reweight_every_epochs=1, loss=first_logit), *rounds)
    assert method.mu == 1 and torch.equal(method.u, reweight(torch.tensor(rounds[1]), contamination=0.5))
    assert method.u.tolist() == [0.5, -0.25, 0, -0.25]


def test_a_weight_that_fell_and_came_back_is_a_close_call(context):
    """mu 1. Sample 2 is pruned, then is the best; sample 3 is pruned for good; sample 1 was never pruned."""
    rounds = [0.0, 1.0, 1.0], [0.3, 0.0, 1.0]
    method = dictate(context, RRM(0.4, mu=1.0, reweight_every_epochs=1, loss=first_logit), *rounds)
    clean = torch.zeros(3, dtype=torch.int64)
    numbers, tables = per_sample(method.sample_values(), clean, clean)
    assert (numbers["close_calls"], numbers["pruned_for_good"]) == (1, 1)
    assert tables["weight_histogram"] == [[1, 1, 0, 0, 0, 1], [0] * 6]


@pytest.mark.parametrize("mu", [0.2, 0.3, 0.7, 1.0])
def test_u_stays_a_change_of_a_distribution(context, mu):
    """Also where the last bits would not: mu x + (1 - mu) x < x for x = -1/5 and mu = .2."""
    rounds = torch.rand(180, 5, generator=torch.Generator().manual_seed(0))
    rounds[:, 4] += 9  # is pruned every time
    method = dictate(context, RRM(0.4, mu=mu, reweight_every_epochs=1, loss=first_logit), *rounds.tolist())
    assert abs(method.u.sum().item()) < 1e-12 and method.u.min() >= -1 / 5
    weight = method.sample_values()["weight"]
    assert weight.min() == weight[4] >= 0 and weight[4] < 1e-7 and weight.mean().item() == pytest.approx(1)


def restless():
    """BatchNorm and dropout."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()


def test_sweep_is_in_eval_mode_and_leaves_no_trace(context):
    ctx, method = scene(context, RRM(0.3, mu=1.0, reweight_every_epochs=1), restless())
    train(ctx, method, 1)
    before = {name: value.clone() for name, value in ctx.model.state_dict().items()}
    stream = torch.get_rng_state()
    method.on_epoch_end(ctx)
    assert all(torch.equal(value, before[name]) for name, value in ctx.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream) and all(m.training for m in ctx.model.modules())
    assert all(p.grad is None for p in ctx.model.parameters())
    swept = ce(ctx.model.eval()(TABLE.input), TABLE.target).detach().float()
    assert torch.equal(method.u, reweight(swept, 0.3)) and method.pruned.any()


def test_training_losses_are_those_of_the_epochs_own_batches(context):
    ctx, method = scene(context, RRM(0.3, mu=1.0, reweight_every_epochs=2, reweight_losses="training"))
    ctx.sweep = None  # is not needed
    seen = torch.zeros(N)
    for ctx.epoch in (1, 2, 3, 4):
        method.on_epoch_start(ctx)
        for index in torch.arange(N).split(4):
            batch = rows(index)
            seen[index] = ce(ctx.model(batch.input), batch.target).detach().float()
            train_step(ctx, method, batch, 0.5)
        method.on_epoch_end(ctx)
        if ctx.epoch == 2:  # as seen, not as they are now
            now = ce(ctx.model(TABLE.input), TABLE.target).detach().float()
            assert torch.equal(method.u, reweight(seen, 0.3)) and not torch.equal(method.u, reweight(now, 0.3))
    assert torch.equal(method.u, reweight(seen, 0.3)) and method.pruned.any()  # the first round's weights are not in it


@pytest.mark.parametrize("mu", [0.5, 1.0])
def test_rows_not_seen_keep_their_weight_and_the_others_share_what_they_have(context, mu):
    """Training losses of an epoch over half of the rows, others the next time: c_min is theirs, in float64 by hand."""
    ctx, method = scene(context, RRM(0.3, mu=mu, reweight_every_epochs=1, reweight_losses="training"))
    u = torch.zeros(N, dtype=torch.float64)
    for ctx.epoch, seen in enumerate((torch.arange(0, N, 2), torch.arange(N // 2), torch.arange(N)), start=1):
        method.on_epoch_start(ctx)
        losses = torch.zeros(N, dtype=torch.float32)
        for index in seen.split(3):
            losses[index] = ce(ctx.model(rows(index).input), rows(index).target).detach().float()
            train_step(ctx, method, rows(index), 0.5)
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


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "negative control"])
def test_state_goes_on_as_if_never_interrupted(context, lost):
    def fresh():
        return RRM(0.3, reweight_every_epochs=2, loss=ELR())

    whole, first = scene(context, fresh()), scene(context, fresh())
    train(*whole, 1, 2, 3, 4)
    train(*first, 1, 2, 3)
    file = io.BytesIO()
    torch.save(first[1].state_dict(), file)
    file.seek(0)
    second = scene(context, fresh(), first[0].model)
    if not lost:
        second[1].load_state_dict(torch.load(file, weights_only=True))
    train(*second, 4)
    assert {"u", "round", "pruned", "lowest_weight"} < set(whole[1].state_dict())
    same = [torch.equal(value, second[1].state_dict()[name]) for name, value in whole[1].state_dict().items()]
    assert all(same) != lost
    assert torch.equal(weights_of(whole[0]), weights_of(second[0])) != lost
    assert whole[1].round == 2


def any_loss(name):
    options = {"matrix": (torch.eye(3) * 0.7 + 0.1).tolist()} if "Correction" in name else {}
    loss = getattr(losses_group, name)
    return loss(**options) if isinstance(loss, type) else loss


@pytest.mark.parametrize("name", sorted(set(losses_group.__all__) - {"bce", "squared"}))
def test_it_wraps_any_loss_of_the_group(context, name):
    ctx, method = scene(context, RRM(contamination=0.25, reweight_every_epochs=1, loss=any_loss(name)))
    train(ctx, method, 1, 2)
    with torch.no_grad():
        losses = method.sample_losses(ctx.model(TABLE.input), TABLE, update=False)
    assert losses.isfinite().all() and torch.equal(method.u, reweight(losses.float(), contamination=0.25))
    assert (method.u < 0).sum() == 3


def test_sweep_teaches_elr_nothing(context):
    ctx, method = scene(context, RRM(0.3, reweight_every_epochs=2, loss=ELR()))
    train(ctx, method, 1)
    table = method.per_sample.t.clone()
    ctx.epoch = 2
    method.on_epoch_end(ctx)
    assert table.any() and torch.equal(method.per_sample.t, table) and method.round == 1


def test_losses_that_are_not_finite_end_the_run(context):
    ctx, method = scene(context, RRM(reweight_every_epochs=2))
    nn.init.constant_(ctx.model.weight, math.nan)
    ctx.epoch = 4
    with pytest.raises(RunFailed, match="re-weighting after epoch 4: losses are nan to nan over 12 samples.*train.lr"):
        method.on_epoch_end(ctx)


@pytest.mark.parametrize("reweight_losses", ["sweep", "training"])
def test_two_ranks_agree_with_one_process(context, reweight_losses):
    """Threads that add up as all_reduce does. The last batch has too few rows to share: both ranks do them all."""

    class Pair(World):
        def sum_(self, tensor):
            parts[self.rank] = tensor.clone()
            barrier.wait(10)
            tensor.copy_(parts[0] + parts[1])
            barrier.wait(10)
            return tensor

    def work(method, world, model):
        ctx, method = scene(context, method, model)
        ctx.world, ctx.epoch = world, 1
        ctx.sweep = lambda: iter([rows(torch.arange(N).tensor_split(world.size)[world.rank])])
        method.on_epoch_start(ctx)
        for index in torch.arange(N).split([9, 3]):
            method.loss(ctx.forward, rows(world.share(index)))
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


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"gamma": -1}, "gamma is -1; it must be > 0"),
        ({"gamma": None}, "gamma is None; it must be > 0"),
        ({"mu": 0}, r"mu is 0; it must lie in \(0, 1\]"),
        ({"mu": 1.5}, r"mu is 1.5; it must lie in \(0, 1\]"),
        ({"contamination": 1.0}, r"contamination is 1.0; it must lie in \[0, 1\)"),
        ({"penalty_scale": -0.5}, "penalty_scale is -0.5; it must be > 0"),
        ({"reweight_every_epochs": 0}, "reweight_every_epochs is 0; it must be a whole number >= 1"),
        ({"reweight_every_epochs": 1.5}, "reweight_every_epochs is 1.5; it must be a whole number >= 1"),
        ({"reweight_losses": "both"}, "reweight_losses is 'both'; it must be sweep or training"),
        ({"loss_scale": "sum"}, "loss_scale is 'sum'; it must be mean or paper"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RRM(**wrong)


def test_a_run_records_each_reweighting_and_resumes_to_the_bit(tiny, tmp_path):
    options = ["method=rrm", "method.gamma=0.5", "method.reweight_every_epochs=1", "loss=elr", "model.dropout=0.3"]

    def record(folder):
        text = (folder / "metrics.jsonl").read_text()
        return [{k: v for k, v in json.loads(row).items() if "seconds" not in k} for row in text.splitlines()]

    folder = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    whole, labels = record(folder), np.load(folder / "labels.npz")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        original = Recorder.checkpoint

        def save(self, ctx, method):
            if ctx.epoch == 3:
                raise InterruptedError
            return original(self, ctx, method)

        patch.setattr(Recorder, "checkpoint", save)
        run(tiny(*options))
    assert record(run(tiny(*options)).folder) == whole

    epochs, tables = ([row for row in whole if row["kind"] == kind] for kind in ("epoch", "method"))
    assert [row["reweightings"] for row in epochs] == [1, 2, 3] and epochs[-1]["pruned"] > 0
    corrupted = (labels["observed"] != labels["clean"])[labels["train"]].sum()
    assert [[sum(part) for part in row["weight_histogram"]] for row in tables] == [[128 - corrupted, corrupted]] * 3
    assert {"prune_precision", "prune_recall", "close_calls", "pruned_for_good"} <= set(epochs[-1])
