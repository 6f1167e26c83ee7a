"""CDR: which gradients a step keeps, what is left to weight decay, and where its rate comes from."""

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.cdr import CDR, keep_critical_
from lilawbench.methods.supervised import Supervised
from lilawbench.metrics.mixture import estimated_wrong_gmm


def test_by_hand():
    """|g w| = 6, 2 | 1, 12, 2, 0 over two tensors; rate 1/2 keeps the three from 2 on (four tie), times 1/2."""
    g = [torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 4.0], [2.0, 9.0]])]
    w = [torch.tensor([[2.0, 2.0]]), torch.tensor([[-1.0, 3.0], [1.0, 0.0]])]
    keep_critical_(g, w, 0.5)
    assert g[0].tolist() == [[1.5, -0.5]] and g[1].tolist() == [[0.0, 2.0], [1.0, 0.0]]


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.95, 0.999999])
def test_as_many_are_kept_as_the_rate_says(rate):
    random = torch.Generator().manual_seed(0)
    w, g = (torch.randn(40, 50, generator=random) for _ in range(2))
    before = g.clone()
    keep_critical_([g], [w], rate)
    kept = g != 0
    assert kept.sum() == max(1, int((1 - rate) * 2000))
    torch.testing.assert_close(g[kept], before[kept] * (1 - rate))
    assert (before * w).abs()[kept].min() >= (before * w).abs()[~kept].max()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()


def test_a_step_is_the_plain_one_on_what_it_keeps_and_decay_on_the_rest(context, dozen):
    """SGD with decay d: a weight that is left out moves by -lr d w; biases and norms move as without the method."""
    moved = []
    for method in (CDR(rate=0.6), Supervised()):
        ctx = context(network(), rows=dozen, weight_decay=0.01)
        before = {name: p.detach().clone() for name, p in ctx.model.named_parameters()}
        ctx.epoch, ctx.batch_size = 1, 12
        method.setup(ctx)
        method.on_epoch_start(ctx)
        train_step(ctx, method, ctx.fetch(torch.arange(12)), 0.1)
        moved.append({name: p.detach() - before[name] for name, p in ctx.model.named_parameters()})
    ours, plain = moved
    kept = 0
    for name, w in before.items():
        decay = -0.1 * 0.01 * w
        if w.ndim != 2:
            torch.testing.assert_close(ours[name], plain[name])
            continue
        left_out = torch.isclose(ours[name], decay, rtol=0, atol=1e-15)
        scaled = torch.isclose(ours[name] - decay, 0.4 * (plain[name] - decay), rtol=1e-9, atol=1e-15)
        assert (left_out | scaled).all()
        kept += (~left_out).sum().item()
    assert kept == int(0.4 * (32 + 24))  # 22 of all, counted over both layers together


def test_an_estimated_rate_is_the_mixtures_after_a_warm_up(context):
    """Forty rows that a linear network fits, and ten with wrong labels: ten losses are of the upper component."""
    input = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    clean = torch.arange(50) % 2
    input[:, 0] += torch.where(clean == 0, 3.0, -3.0)
    observed = torch.where(torch.arange(50) < 10, 1 - clean, clean)
    model = nn.Linear(2, 2)
    model.weight.data, model.bias.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.zeros(2)
    ctx, method = context(model, rows=Resident(input, observed), num_classes=2), CDR(warmup_epochs=2)
    method.setup(ctx)
    for ctx.epoch, expected in ((1, 0.0), (2, 0.0), (3, 0.2)):
        method.on_epoch_start(ctx)
        assert method.logs() == {"rate": expected} and method.warming_up == (ctx.epoch <= 2)
    losses = method.per_sample(method.predict_train(ctx), ctx.targets)
    assert estimated_wrong_gmm(losses) == 10


def test_a_given_rate_is_told_and_has_no_warm_up():
    assert CDR().told() == [] and CDR(rate=0.2).told() == ["method.rate=0.2"]
    assert CDR(rate=0.2).never_acts(1, 1) == [] and CDR(rate=0).never_acts(9, 9) == ["never masked: method.rate is 0"]
    assert CDR().never_acts(5, 9) == ["never masked: method.warmup_epochs is 5, of 5 epochs"]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"rate": 1}, r"rate is 1; it must lie in \[0, 1\), or be estimate"),
        ({"rate": "gmm"}, "rate is 'gmm'; it must be estimate or a number"),
        ({"warmup_epochs": 0}, "warmup_epochs is 0; it must be a whole number >= 1"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CDR(**wrong)
