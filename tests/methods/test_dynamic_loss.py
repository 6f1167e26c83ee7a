"""Dynamic Loss by hand, its look-ahead inside a training loop, and what each option changes."""

import copy
import logging

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.data.base import Batch
from lilawbench.data.loaders import Resident, TrainLoader
from lilawbench.engine.loop import train_step
from lilawbench.errors import ConfigError
from lilawbench.losses import ce
from lilawbench.methods.base import Context
from lilawbench.methods.dynamic_loss import DynamicLoss, corrected_label, dynamic_loss
from lilawbench.methods.lookahead import Network, hypergradient
from lilawbench.models.lstm import LSTM

F64 = torch.float64


def test_three_samples_by_hand():
    """K = 2, q = (0, ln 2).

    z          probs of z+q  y  y'        g    y*          DL
    ln 4, 0    2/3, 1/3      0  (0, 1)   .75  (.75, .25)  .75 ln 3/2 + .25 ln 3 = .578752
    0, 0       1/3, 2/3      1  (.2, .8) .5   (.1, .9)    .1 ln 3 + .9 ln 3/2   = .474780
    0, ln 3    1/7, 6/7      1  (1, 0)   1    (0, 1)      ln 7/6                = .154151
    """
    logits = torch.tensor([[4.0, 1], [1, 1], [1, 3]], dtype=F64).log()
    target, pseudo = torch.tensor([0, 1, 1]), torch.tensor([[0, 1], [0.2, 0.8], [1, 0]], dtype=F64)
    trust, margin = torch.tensor([0.75, 0.5, 1], dtype=F64), torch.tensor([1.0, 2], dtype=F64).log()
    label = corrected_label(target, pseudo, trust)
    torch.testing.assert_close(label, torch.tensor([[0.75, 0.25], [0.1, 0.9], [0, 1]], dtype=F64))
    ours = dynamic_loss(logits, target, pseudo, trust, margin)
    assert ours.tolist() == pytest.approx([0.578752, 0.474780, 0.154151], abs=1e-6)


def test_one_look_ahead_by_hand():
    """Two logits w x with w = 0 and x = 1, y = 0, y' = 1, g = .5, q = 0; a meta sample x = 1 of class 0; lr .1.

    s = p - y* = 0, so the virtual weights are w; there v = p - e_0 = (-.5, .5) = u.
    ds/dg = -(y - y') = (-1, 1):           d meta / dg = -.1 <ds/dg, u> = -.1
    ds/dq = diag p - p p^T = +-.25:        d meta / dq = -.1 (-.25, .25)
    """
    model = nn.Linear(1, 2, bias=False, dtype=F64)
    nn.init.zeros_(model.weight)
    network, x, y = Network(model), torch.ones(1, 1, dtype=F64), torch.tensor([0])
    g, q = torch.tensor([0.5], dtype=F64, requires_grad=True), torch.zeros(2, dtype=F64, requires_grad=True)
    pseudo = torch.tensor([[0.0, 1.0]], dtype=F64)
    ours = hypergradient(
        network,
        torch.optim.SGD(model.parameters(), lr=0.1),
        x,
        lambda z: dynamic_loss(z, y, pseudo, g, q).mean(),
        lambda weights: F.cross_entropy(network(weights, x), y),
        [g, q],
        logits=model(x),
    )
    assert ours[0].tolist() == pytest.approx([-0.1]) and ours[1].tolist() == pytest.approx([0.025, -0.025])


def test_gradient_on_the_logits_is_closed_form():
    """p - y*, [B, K], with y* held fixed."""
    logits = torch.randn(6, 4, dtype=F64, requires_grad=True)
    target, pseudo = torch.randint(0, 4, (6,)), torch.rand(6, 4, dtype=F64).softmax(1)
    trust, margin = torch.rand(6, dtype=F64), torch.randn(4, dtype=F64)
    (slope,) = torch.autograd.grad(dynamic_loss(logits, target, pseudo, trust, margin).sum(), logits)
    expected = (logits + margin).softmax(1) - corrected_label(target, pseudo, trust)
    torch.testing.assert_close(slope, expected.detach(), rtol=1e-12, atol=1e-12)


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


def blobs(centres, model, rows, target, batch_size, model_lr, **options):
    """Twelve epochs of `rows` of 600 points around three centres, point i around centre i mod 3."""
    random = torch.Generator().manual_seed(0)
    input = torch.randn(600, centres.shape[1], generator=random) + centres[torch.arange(600) % 3]
    data, method = Resident(input[rows], target), DynamicLoss(num_bins=10, warmup_epochs=1, **options)
    optimizer, device = torch.optim.SGD(model.parameters(), model_lr, momentum=0.9), torch.device("cpu")
    table = {"fetch": data.batch, "targets": target}
    ctx = Context(model, model, optimizer, data.in_order, None, len(rows), 3, device, **table)
    method.setup(ctx)
    for ctx.epoch in range(1, 13):
        method.on_epoch_start(ctx)
        for batch in TrainLoader(data, batch_size, 0).epoch(ctx.epoch, method.training_rows()):
            ctx.batch_size = len(batch.index)
            train_step(ctx, method, batch, model_lr)
        method.on_epoch_end(ctx)
    return method


def test_the_corrector_learns_which_labels_are_wrong():
    """A quarter of class 1 is labelled 0: of class 0's bins the last two hold the wrong ones."""
    rows, clean = torch.arange(600), torch.arange(600) % 3
    wrong = (clean == 1) & (rows % 4 == 0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 3))
    centres = torch.tensor([[4.0, 0], [0, 4], [0, 0]])
    method = blobs(centres, model, rows, clean.masked_fill(wrong, 0), 64, 0.02, margin=False, lr=0.01)
    assert wrong[(method.targets == 0) & (method.bins >= 8)].float().mean() > 0.9
    g = method.logs()["g"]
    assert g[0, 8:].max() < 0.1 and g[1:].min() > 0.9
    label, chosen = (method.sample_values()[name] for name in ("corrected_label", "in_meta_set"))
    assert (label == clean)[wrong].float().mean() > 0.9 and (label == clean)[~wrong].float().mean() > 0.95
    assert not wrong[chosen].any()


def test_margins_learn_the_class_sizes():
    """200, 80 and 32 clean samples of classes that are equally hard."""
    clean = torch.arange(600) % 3
    rows = torch.arange(600)[torch.arange(600) // 3 < torch.tensor([200, 80, 32])[clean]]
    torch.manual_seed(0)
    method = blobs(2 * torch.eye(3), nn.Linear(3, 3), rows, clean[rows], 32, 0.1, corrector=False)
    assert method.targets.bincount().tolist() == [200, 80, 32]
    margin = method.logs()["margin"]
    assert margin[0] > margin[1] > margin[2]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"meta_fraction": 0.6}, r"primary_fraction \(M0\) is 0.5 and meta_fraction \(M1\) 0.6; .* 0 < M1 <= M0 <= 1"),
        ({"meta_fraction": 0}, "0 < M1 <= M0 <= 1"),
        ({"primary_fraction": 1.5}, "0 < M1 <= M0 <= 1"),
        ({"num_bins": 0}, "num_bins is 0; it must be a whole number >= 1"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1"),
        ({"lr": 0}, "lr is 0; it must be > 0"),
        ({"margin": "ldam"}, r"margin is 'ldam'; it must be one of \[True, 'balanced_softmax', False\]"),
        ({"corrector": "maybe"}, "corrector is 'maybe'"),
        ({"meta_net": "cnn"}, "meta_net is 'cnn'"),
        ({"pseudo_label": "hard"}, "pseudo_label is 'hard'"),
        ({"meta_sampling": "best"}, "meta_sampling is 'best'"),
        ({"hypergradient": "vjp"}, "hypergradient is 'vjp'"),
        ({"meta_mode": "test"}, "meta_mode is 'test'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DynamicLoss(**options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_bins": 16}, r"method.num_bins=16: the smallest class \(2\) has 15 training samples; .* at most 15"),
        ({"num_bins": 91, "class_wise": False}, "method.num_bins=91: there are 90 training samples; .* at most 90"),
        ({"meta_fraction": 0.06}, r"method.meta_fraction=0.06: the smallest class \(2\) has 15 training samples, so"),
    ],
)
def test_data_too_small_for_the_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Run(small(**options))
    Run(small(**{**options, "corrector": False, "margin": False}))  # which learns nothing and needs neither


def test_batches_have_indices_of_the_training_table():
    run = Run(small())
    rows = torch.tensor([3, 1])
    assert isinstance(run.ctx.fetch(rows), Batch) and torch.equal(run.ctx.fetch(rows).target, run.data.target[rows])
