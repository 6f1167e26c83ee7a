"""The look-ahead of Dynamic Loss inside a training loop, and what each option changes."""

import copy
import logging

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import train_step
from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import TrainLoader
from lilawbench.loading.resident import Resident
from lilawbench.losses import ce
from lilawbench.methods.base import Context
from lilawbench.methods.dynamic_loss import DynamicLoss, dynamic_loss
from lilawbench.models.lstm import LSTM
from lilawbench.support.errors import ConfigError

F64 = torch.float64


class Run:
    """A method on 90 rows of three classes (45, 30, 15), as the loop would run it."""

    def __init__(self, method, model=None, shape=(4,), epoch=10):
        random = torch.Generator().manual_seed(0)
        target = torch.tensor([0] * 45 + [1] * 30 + [2] * 15)[torch.randperm(90, generator=random)]
        input = torch.randn(90, *shape, generator=random) + target.view(-1, *[1] * len(shape))
        self.data, self.method = Resident(input, target), method
        torch.manual_seed(1)
        self.model = model() if model else net()
        self.ctx = Context(
            model=self.model,
            forward=self.model,
            optimizer=torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4),
            sweep=self.data.in_order,
            meta=None,
            num_train=90,
            num_classes=3,
            device=torch.device("cpu"),
            full_batch_size=16,
            fetch=self.data.batch,
            targets=target,
            epoch=epoch,
        )
        self.loader = TrainLoader(self.data, 16, 0)
        method.setup(self.ctx)

    def start(self):
        self.method.on_epoch_start(self.ctx)
        self.model.train()
        return self.loader.epoch(self.ctx.epoch, self.method.training_rows())

    def step(self, batch, lr=0.1):
        self.ctx.batch_size = len(batch.index)
        return train_step(self.ctx, self.method, batch, lr)

    def train(self, epochs=1):
        for _ in range(epochs):
            torch.manual_seed(self.ctx.epoch)
            for batch in self.start():
                self.step(batch)
            self.method.on_epoch_end(self.ctx)
            self.ctx.epoch += 1
        return self


@pytest.fixture
def float64():
    """Everything in double precision."""
    torch.set_default_dtype(F64)
    yield
    torch.set_default_dtype(torch.float32)


def net(dropout=0.3):
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def small(**options):
    return DynamicLoss(**{"num_bins": 5, **options})


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize(
    "options",
    [{}, {"pseudo_label": "softmax"}, {"meta_mode": "eval"}, {"class_wise": False, "meta_net": "vector"}],
    ids=["gumbel", "softmax", "meta eval", "ablated"],
)
def test_two_epochs_are_the_same_by_every_exact_way(options, float64):
    """Forward mode with and without a forward of its own, and double backward, in a net with dropout and BatchNorm."""
    ways = [{}, {"reuse_forward": False}, {"hypergradient": "double_backward"}]
    runs = [Run(small(**options, **way)).train(2) for way in ways]
    start = Run(small(**options))
    for part in (lambda run: weights(run.model), lambda run: weights(run.method.nets)):
        moved = part(runs[0]) - part(start)
        for other in runs[1:]:
            assert (part(other) - part(runs[0])).norm() < 1e-8 * moved.norm()
    approximate = Run(small(**options, hypergradient="finite_difference")).train(2)
    error = (weights(approximate.method.nets) - weights(runs[0].method.nets)).norm()
    assert 1e-9 < error / (weights(runs[0].method.nets) - weights(start.method.nets)).norm() < 0.2


@pytest.mark.parametrize("pseudo_label", ["gumbel_hard", "softmax"])
def test_the_real_step_takes_the_moved_nets_and_the_same_pseudo_labels(pseudo_label, monkeypatch):
    run, seen = Run(small(pseudo_label=pseudo_label)), []
    batch = next(run.start())
    before = [table.detach().clone() for table in run.method.nets()]
    real = dynamic_loss
    monkeypatch.setattr(
        "lilawbench.methods.dynamic_loss.dynamic_loss",
        lambda logits, *rest: seen.append([logits.detach(), *rest]) or real(logits, *rest),
    )
    out = run.step(batch)
    (virtual, actual), after = seen, run.method.nets()
    bins = run.method.bins[batch.index]
    for call, (g, q) in ((virtual, before), (actual, after)):
        torch.testing.assert_close(call[3], g[bins, batch.target].detach(), check_stride=False)
        torch.testing.assert_close(call[4].detach(), q.detach())
    assert torch.equal(virtual[0], actual[0]) and torch.equal(virtual[2], actual[2])
    assert not torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])
    probs = out.logits.softmax(1)
    assert torch.equal(actual[2], probs) == (pseudo_label == "softmax")
    assert torch.equal(actual[2].sum(1), torch.ones(16)) or pseudo_label == "softmax"
    torch.testing.assert_close(out.loss, real(*actual).mean().detach(), check_stride=False)


def test_drawn_labels_follow_softmax():
    run = Run(small())
    run.start()
    logits = torch.tensor([[2.0, 0.0, -1.0]]).expand(20000, 3)
    drawn = run.method._pseudo_labels(logits, None)
    assert set(drawn.unique().tolist()) == {0, 1} and torch.equal(drawn.sum(1), torch.ones(20000))
    torch.testing.assert_close(drawn.mean(0), logits[0].softmax(0), rtol=0, atol=0.012)  # four deviations


def test_warm_up_is_the_plain_loss_on_all_rows():
    method = small(warmup_epochs=3)
    run = Run(method, epoch=3)
    batch = next(run.start())
    assert method.training_rows() is None and method.logs() == {} and method.sample_values() == {}
    stream, before = torch.get_rng_state(), copy.deepcopy(method.state_dict())
    out = run.step(batch)
    torch.set_rng_state(stream)
    torch.testing.assert_close(out.loss, ce(out.logits, batch.target).mean(), rtol=0, atol=0)
    assert torch.equal(before["nets.margin.layers.4.bias"], method.state_dict()["nets.margin.layers.4.bias"])
    run.ctx.epoch = 4
    run.start()
    assert method.training_rows().sum() == 90 - 3 * method.count


def test_a_look_ahead_moves_the_nets_and_nothing_else():
    """The random stream and BatchNorm's statistics after `loss` are those of one plain forward; no gradient is left."""
    run, plain = Run(small()), Run(small())
    batch = next(run.start())
    for each in (run, plain):
        torch.manual_seed(2)
        if each is run:
            each.method.before_step(each.ctx, batch)
            out = each.method.loss(each.ctx.forward, batch)
        else:
            logits = each.model(batch.input)
    assert torch.equal(out.logits, logits)
    ends = []
    for each in (run, plain):
        torch.manual_seed(2)
        ends.append(torch.cat([b.double().flatten() for b in each.model.buffers()]))
    assert torch.equal(*ends) and torch.equal(weights(run.model), weights(plain.model))
    assert all(p.grad is None for p in run.model.parameters())
    assert run.ctx.optimizer.state_dict()["state"] == {}
    assert not torch.equal(weights(run.method.nets), weights(plain.method.nets))


def test_the_stream_goes_on_as_after_one_forward():
    marks = []
    for look in (True, False):
        run = Run(small())
        batch = next(run.start())
        torch.manual_seed(2)
        if look:
            run.method.before_step(run.ctx, batch)
        run.method.loss(run.ctx.forward, batch)
        marks.append(torch.get_rng_state())
    assert torch.equal(*marks)


@pytest.mark.parametrize("sampling", ["hierarchical", "lowest_loss", "random"])
def test_the_meta_set_is_balanced_and_does_not_train(sampling):
    """The smallest class has 15: M0 = 7, M1 = 3."""
    run, trained, asked = Run(small(meta_sampling=sampling)), [], []
    run.ctx.fetch = lambda rows: asked.append(rows) or run.data.batch(rows)
    sets = []
    for _ in range(2):
        for batch in run.start():
            run.step(batch)
            trained.append(batch.index)
        chosen = run.method.sample_values()["in_meta_set"]
        assert run.data.target[chosen].bincount().tolist() == [3, 3, 3]
        assert not chosen[torch.cat(trained)].any() and chosen[torch.cat(asked)].all()
        assert len(torch.cat(trained)) == 81 and all(len(rows) == 9 for rows in asked)
        sets.append(chosen)
        run.ctx.epoch += 1
        trained.clear(), asked.clear()
    assert sampling == "lowest_loss" or not torch.equal(*sets)


def test_bins_rank_the_swept_losses():
    run = Run(small(num_bins=4))
    run.start()
    with torch.no_grad():
        losses = ce(run.model.eval()(run.data.input), run.data.target)
    for c in range(3):
        rows = (run.data.target == c).nonzero()[:, 0]
        order = rows[losses[rows].argsort()]
        expected = [int(rank / (len(rows) + 1) * 4) for rank in range(len(rows))]
        assert run.method.bins[order].tolist() == expected
    agnostic = Run(small(num_bins=4, class_wise=False))
    agnostic.start()
    assert agnostic.method.bins[losses.argsort()].diff().min() >= 0


def test_logs_and_sample_values():
    run = Run(small()).train()
    logs, values = run.method.logs(), run.method.sample_values()
    g, q = run.method.nets()
    assert logs["g"].shape == (3, 5) and torch.equal(logs["g"], g.T) and torch.equal(logs["margin"], q)
    assert logs["g_mean"] == pytest.approx(g.mean().item())
    with torch.no_grad():
        g.fill_(0.0)  # nobody trusts a label: corrected labels are the network's own of the sweep
    run.method.nets.forward = lambda: (g, q)
    assert torch.equal(run.method.sample_values()["corrected_label"], run.method.swept.argmax(1))
    g.data.fill_(1.0)
    assert torch.equal(run.method.sample_values()["corrected_label"], run.data.target)
    assert values["corrected_label"].shape == (90,) and values["in_meta_set"].sum() == 9


def test_restored_it_goes_on_to_the_bit():
    whole, first, second = Run(small()).train(3), Run(small()).train(2), Run(small())
    state = copy.deepcopy((first.model.state_dict(), first.ctx.optimizer.state_dict(), first.method.state_dict()))
    for part, values in zip((second.model, second.ctx.optimizer, second.method), state, strict=True):
        part.load_state_dict(values)
    second.ctx.epoch = 12
    second.train(1)
    assert torch.equal(weights(whole.model), weights(second.model))
    assert torch.equal(weights(whole.method.nets), weights(second.method.nets))


def test_without_corrector_labels_stay_and_without_margin_logits_do():
    run = Run(small(corrector=False))
    batch = next(run.start())
    out = run.step(batch)
    _, q = run.method.nets()
    torch.testing.assert_close(out.loss, ce(out.logits + q, batch.target).mean().detach())
    run = Run(small(margin=False))
    run.train()
    assert torch.equal(run.method.logs()["margin"], torch.zeros(3))
    assert not torch.equal(run.method.logs()["g"], Run(small(margin=False)).method.nets()[0].T)


def test_balanced_softmax_alone_learns_nothing_and_trains_on_all():
    run = Run(small(corrector=False, margin="balanced_softmax"))
    batch = next(run.start())
    assert run.method.training_rows() is None
    out = run.step(batch)
    counts = torch.tensor([45.0, 30.0, 15.0])
    torch.testing.assert_close(out.loss, ce(out.logits + counts.log(), batch.target).mean())


def test_finetuning_steps_on_the_meta_set_after_the_epoch():
    run, plain = Run(small(finetune_on_meta=True)), Run(small())
    for each in (run, plain):
        torch.manual_seed(3)
        for batch in each.start():
            each.step(batch)
    assert torch.equal(weights(run.model), weights(plain.model))
    asked = []
    run.ctx.fetch = lambda rows: asked.append(rows) or run.data.batch(rows)
    for each in (run, plain):
        each.method.on_epoch_end(each.ctx)
    assert sorted(torch.cat(asked).tolist()) == run.method.in_meta_set.nonzero()[:, 0].tolist()
    assert not torch.equal(weights(run.model), weights(plain.model))
    assert all(p.grad is None for p in run.model.parameters())


def test_a_forward_that_cannot_be_repeated_is_not_reused(caplog, float64):
    """As under a compiler that draws dropout from a stream of its own: then every look-ahead has its own forward."""
    caplog.set_level(logging.INFO, "lilawbench")
    runs = [Run(small(reuse_forward=reuse)) for reuse in (True, False)]
    for run in runs:

        def forward(input, run=run):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(99)
                return run.model(input)

        run.ctx.forward = forward
        run.train()
    assert caplog.text.count("looks ahead on a forward of its own from now on: a second forward") == 1
    assert torch.equal(weights(runs[0].method.nets), weights(runs[1].method.nets))


@pytest.mark.parametrize("meta_mode", ["train", "eval"])
def test_recurrent_networks(meta_mode):
    runs = [
        Run(small(meta_mode=meta_mode, hypergradient=how), lambda: LSTM(3, (6, 2), hidden=5, dropout=0.2), shape=(6, 2))
        for how in ("jvp", "double_backward")
    ]
    ours, expected = (weights(run.train().method.nets) for run in runs)
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-3)
    assert (ours - weights(Run(small()).method.nets)).abs().max() > 0.005


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_other_optimizers(name, float64):
    runs = [Run(small(hypergradient=how)) for how in ("jvp", "double_backward")]
    for run in runs:
        run.ctx.optimizer = getattr(torch.optim, name)(run.model.parameters(), 0.01, weight_decay=0.01, fused=True)
        run.ctx.clip_grad_norm = 0.5
        run.train(2)
    torch.testing.assert_close(weights(runs[0].method.nets), weights(runs[1].method.nets), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"meta_fraction": 0.06}, r"method.meta_fraction=0.06: the smallest class \(2\) has 15 training samples, so"),
    ],
)
def test_data_too_small_for_the_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Run(small(**options))
    Run(small(**{**options, "corrector": False, "margin": False}))  # which learns nothing and needs neither


@pytest.mark.parametrize("class_wise, bins", [(True, 40), (False, 200)])
def test_more_bins_than_samples_leave_some_empty(class_wise, bins, float64):
    """The paper's R = 50 on classes of five: r = floor(rank / (n + 1) R) still, exact, and both nets learn."""
    runs = [Run(small(num_bins=bins, class_wise=class_wise, hypergradient=how)) for how in ("jvp", "double_backward")]
    for run in runs:
        before = weights(run.method.nets).clone()
        run.train(2)
        assert (weights(run.method.nets) != before).any()
        sizes = run.data.target.bincount() if class_wise else torch.tensor([len(run.data)])
        for c, size in enumerate(sizes.tolist()):
            rows = (run.data.target == c) if class_wise else slice(None)
            expected = sorted(int(rank / (size + 1) * bins) for rank in range(size))
            assert sorted(run.method.bins[rows].tolist()) == expected
            assert len(set(expected)) < bins
    torch.testing.assert_close(weights(runs[0].method.nets), weights(runs[1].method.nets), rtol=0, atol=1e-8)


def test_batches_have_indices_of_the_training_table():
    run = Run(small())
    rows = torch.tensor([3, 1])
    assert isinstance(run.ctx.fetch(rows), Batch) and torch.equal(run.ctx.fetch(rows).target, run.data.target[rows])
