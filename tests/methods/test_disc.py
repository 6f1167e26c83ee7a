"""DISC: sets and thresholds worked by hand, losses by masks against losses of the rows themselves, in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.losses import focal, gce
from lilawbench.methods.disc import DISC, sets_of
from lilawbench.methods.parts.mixing import ChosenMix, Mixer

D = torch.float64


def test_sets_by_hand():
    """Thresholds .3 and .5, so that a label is replaced above .4 + .5 = .9: rows above both, the weak, the strong one,
    none and sure, none and not sure; and with thresholds .1 above .6."""
    given = torch.tensor([[0.4, 0.6], [0.4, 0.5], [0.3, 0.51], [0.1, 0.0], [0.1, 0.0], [0.05, 0.1]])
    surest = torch.tensor([0.6, 0.95, 0.95, 0.91, 0.9, 0.61])
    thresholds = torch.tensor([[0.3, 0.5]] * 5 + [[0.1, 0.1]])
    trusted, hard, purified = sets_of(given, surest, thresholds)
    assert trusted.tolist() == [True, False, False, False, False, False]
    assert hard.tolist() == [False, True, True, False, False, False]
    assert purified.tolist() == [False, False, False, True, False, True]
    high = torch.tensor([[0.9, 0.9]])  # 1.4 is more than anything: the cap, .9
    assert sets_of(torch.zeros(1, 2), torch.tensor([0.91]), high).purified.item()


class Net(nn.Linear):
    """Two views of one row differ: the second half of a batch is scaled."""

    def forward(self, x):
        return super().forward(x) * torch.linspace(1, 3, len(x), dtype=D)[:, None]


def scene(context, method, net=None):
    rows = Resident(torch.randn(12, 4, dtype=D, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3)
    torch.manual_seed(0)
    ctx = context(Net(4, 3, dtype=D) if net is None else net, rows=rows, views=method.views)
    method.setup(ctx)
    ctx.epoch, ctx.batch_size = 1, 6
    method.on_epoch_start(ctx)
    return ctx, next(iter(method.batches(ctx)))


def test_thresholds_start_at_1_over_n_and_sort_before_they_move(context):
    """Momentum .75: tau = .75 / 12 + .25 max p of each view. Rows not seen keep theirs."""
    method = DISC(warmup_epochs=1, momentum=0.75)
    ctx, batch = scene(context, method)
    assert method.thresholds.unique().tolist() == pytest.approx([1 / 12])  # not 1 / 3 classes
    out = method.loss(ctx, batch)
    weak, strong = ctx.model(torch.cat([batch.input, batch.views["strong"]])).chunk(2)
    both = F.cross_entropy(weak, batch.target) + F.cross_entropy(strong, batch.target)
    torch.testing.assert_close(out.loss, both)
    p = torch.stack([weak, strong], 1).softmax(2).detach().float()
    method.on_epoch_end(ctx)
    expected = torch.full((12, 2), 1 / 12).index_copy_(0, batch.index, 0.75 / 12 + 0.25 * p.amax(2))
    torch.testing.assert_close(method.thresholds, expected)
    given = p[torch.arange(6), :, batch.target]
    assert torch.equal(method.trusted[batch.index], (given > 1 / 12).all(1)) and method.trusted.any()


def test_a_step_has_the_losses_of_the_rows_in_the_sets(context, monkeypatch):
    """Two rows trusted, one hard, one purified (its class is 2), two in no set; a mix of .75 among the first four."""
    method = DISC(warmup_epochs=0, hard_weight=0.3)
    ctx, batch = scene(context, method)
    places = dict(zip(("trusted", "hard", "purified"), ([0, 1], [2], [3])))
    for name, rows in places.items():
        getattr(method, name)[batch.index[rows]] = True
    method.probs[:, 2] = 1
    method.labels = method._labels()
    first, partner = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([3, 2, 0, 1, 3, 2])
    weight = torch.tensor([0.25] * 4 + [0.0] * 2, dtype=D)
    masks = []
    monkeypatch.setattr(Mixer, "among", lambda self, m: (masks.append(m), ChosenMix(0.75, first, partner, weight))[1])
    loss = method.loss(ctx, batch).loss
    weak, strong = ctx.model(torch.cat([batch.input, batch.views["strong"]])).chunk(2)
    expected, y = 0, batch.target
    label = torch.cat([y[:3], torch.tensor([2])])
    for z in (weak, strong):
        expected = expected + F.cross_entropy(z[:2], y[:2], reduction="sum") / 6 + 0.3 * gce(z[2:3], y[2:3]).sum() / 6
    for x in (batch.input, batch.views["strong"]):
        z = ctx.model(0.75 * x[first] + 0.25 * x[partner])[:4]
        one, other = (F.cross_entropy(z, label[which[:4]], reduction="none") for which in (first, partner))
        expected = expected + (0.75 * one + 0.25 * other).mean()
    torch.testing.assert_close(loss, expected)
    assert [mask.tolist() for mask in masks] == [[True] * 4 + [False] * 2] * 2


@pytest.mark.parametrize("count", [0, 1, 3, 8])
def test_mixes_are_of_the_chosen_rows_alone(context, count):
    ctx, mixer = context(nn.Linear(2, 2)), Mixer(5.0, at_least_half=True)
    mixer.start(ctx)
    chosen = torch.zeros(8, dtype=torch.bool)
    chosen[[7, 2, 5, 0, 1, 3, 4, 6][:count]] = True
    partners = set()
    for _ in range(20):
        mix = mixer.among(chosen)
        assert mix.share >= 0.5 and mix.first.shape == mix.partner.shape == (8,)
        torch.testing.assert_close(mix.weight, torch.tensor([1 / max(count, 1)] * count + [0.0] * (8 - count)))
        rows = chosen.nonzero()[:, 0].tolist() if count else list(range(8))
        for order in (mix.first, mix.partner):
            assert sorted(order[: len(rows)].tolist()) == rows  # each once, then again
            assert torch.equal(order, order[: len(rows)].repeat(8)[:8])
        partners |= {*zip(mix.first.tolist(), mix.partner.tolist())}
    x = torch.rand(8, 2)
    torch.testing.assert_close(mix(x), mix.share * x[mix.first] + (1 - mix.share) * x[mix.partner])
    assert count != 3 or len(partners) == 9


def test_without_any_chosen_row_nothing_is_learned(context):
    method = DISC(warmup_epochs=0)
    ctx, batch = scene(context, method)
    before = [p.clone() for p in ctx.model.parameters()]
    assert train_step(ctx, method, batch, 0.5).loss == 0
    assert all(torch.equal(*pair) for pair in zip(before, ctx.model.parameters()))


def test_what_it_says_of_samples(context):
    method = DISC()
    ctx, _ = scene(context, method)
    method.trusted[0], method.hard[1], method.purified[2] = True, True, True
    method.probs[2, 1], method.given[0] = 1, torch.tensor([0.5, 0.7])
    values = method.sample_values()
    assert values["given_margin"][0].item() == pytest.approx(0.6 - 1 / 12)
    assert values["distrusted"].tolist() == [False, False] + [True] * 10
    assert values["corrected_label"].tolist() == [0, 1, 1, *ctx.targets[3:].tolist()]
    assert method.logs() == pytest.approx({"trusted": 1 / 12, "hard": 1 / 12, "purified": 1 / 12})


def test_options_out_of_range_and_what_only_the_noise_justifies():
    for options, said in (({"warmup_epochs": -1}, "warmup_epochs is -1"), ({"momentum": 1}, "momentum is 1"),
                          ({"hard_weight": -1}, "hard_weight is -1"), ({"q": 0}, "q is 0"),
                          ({"cap": 0}, "cap 0"), ({"alpha": 0}, "alpha is 0"),
                          ({"loss": focal}, "take loss=ce")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            DISC(**options)
    assert DISC().told() == []
    assert DISC(momentum=0.95, hard_weight=0.2).told() == ["method.momentum=0.95", "method.hard_weight=0.2"]
