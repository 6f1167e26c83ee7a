"""Dynamic Loss by hand, what it learns, and options out of range."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.engine.context import make_context
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.dynamic_loss import DynamicLoss, corrected_label, dynamic_loss
from lilawbench.methods.parts.lookahead import Network, hypergradient
from lilawbench.schema import Train

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


def blobs(centres, model, rows, target, batch_size, model_lr, **options):
    """Twelve epochs of `rows` of 600 points around three centres, point i around centre i mod 3."""
    random = torch.Generator().manual_seed(0)
    input = torch.randn(600, centres.shape[1], generator=random) + centres[torch.arange(600) % 3]
    data, method = Resident(input[rows], target), DynamicLoss(num_bins=10, warmup_epochs=1, **options)
    train = Train(optimizer="sgd", lr=model_lr, batch_size=batch_size)
    ctx = make_context([model], data, num_classes=3, options=train)
    method.setup(ctx)
    for ctx.epoch in range(1, 13):
        method.on_epoch_start(ctx)
        for batch in method.batches(ctx):
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
    label, chosen, trust = (method.sample_values()[name] for name in ("corrected_label", "in_meta_set", "trust"))
    assert trust[wrong].max() < 0.1 and trust[~wrong].mean() > 0.7
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
