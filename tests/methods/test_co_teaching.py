"""Co-teaching, Co-teaching+ and JoCoR by hand in float64, and which side of their codes' traps this one is on.

Each row's input is a unit vector, so that a network without biases is a table of logits, and the gradient of its
weights is that of each row's logits: (softmax(z) - onehot(y)) / kept rows, or 0.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.engine.evaluate import predict
from lilawbench.loading.resident import Resident
from lilawbench.losses import ce
from lilawbench.methods.co_teaching import CoTeaching, divergence, smallest
from lilawbench.support import host

Y = torch.tensor([0, 1, 2, 0])
# the given label's logit over zeros: the losses fall as it grows; the sign says which of two others is predicted
FIRST = [[3.0, 0, 0], [0, 2, 0], [1, 0, 0], [0, 0, 1]]  # losses .095, .239, 1.551, 1.551: keeps 0, 1
SECOND = [[0.0, 1, 0], [0, 3, 0], [0, 0, 2], [0, 4, 0]]  # losses 1.551, .095, .239, 4.036: keeps 1, 2


def table(logits):
    net = nn.Linear(len(logits), len(logits[0]), bias=False, dtype=torch.float64)
    net.weight.data = torch.tensor(logits, dtype=torch.float64).T.contiguous()
    return net


@pytest.fixture
def step(context):
    """step(method, epoch=1) -> (ctx, output, gradients [row] of both networks' logits) of one batch of all rows."""

    def make(method, epoch=1, nets=(FIRST, SECOND), target=Y, steps=0):
        rows = Resident(torch.eye(len(target), dtype=torch.float64), target)
        ctx = context(*map(table, nets), rows=rows, batch_size=len(target))
        method.setup(ctx)
        ctx.epoch, ctx.batch_size, ctx.step = epoch, len(target), steps
        method.on_epoch_start(ctx)
        out = method.loss(ctx, ctx.fetch(torch.arange(len(target))))
        out.loss.backward()
        return ctx, out, [net.weight.grad.T for net in ctx.networks]

    return make


def expected(logits, rows, target=Y):
    """Gradient [row] of the mean cross-entropy of some rows."""
    z = torch.tensor(logits, dtype=torch.float64)
    grad = torch.zeros_like(z)
    grad[rows] = (z.softmax(1) - F.one_hot(target, z.shape[1]))[rows] / len(rows)
    return grad


def test_the_smallest_of_each_list():
    losses = torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 1.0, 1.0, math.inf]])
    every, some = torch.ones(4, dtype=torch.bool), torch.tensor([True, False, True, True])
    keep = lambda value: torch.tensor(value, dtype=torch.float64)  # noqa: E731
    assert smallest(losses, keep(0.5), every).tolist() == [[False, True, False, True], [True, True, False, False]]
    assert smallest(losses, keep(0.7), some).tolist() == [[False, False, True, True], [True, False, True, False]]
    assert smallest(losses, keep(0.0), every).sum(1).tolist() == [1, 1]
    assert not smallest(losses, keep(0.5), ~every).any()
    ten = torch.arange(10.0)[None]
    found = [int(smallest(ten, keep(1 - tau), ten[0] >= 0).sum()) for tau in (0.9, 0.45, 0.2, 0.1)]
    assert found == [1, 5, 8, 9]  # 1 - .9 is less than .1 in floating point


@pytest.mark.parametrize("select, first, second", [("peer", [1, 2], [0, 1]), ("own", [0, 1], [1, 2])])
def test_a_network_trains_on_the_mean_of_the_rows_that_were_kept_for_it(step, select, first, second):
    """tau .5 of four rows: two are kept. Their code divides the mean by 2 once more, which halves all of this."""
    method = CoTeaching(select, forget_rate=0.5, ramp_epochs=1)
    _, out, grads = step(method)
    z = [torch.tensor(logits, dtype=torch.float64) for logits in (FIRST, SECOND)]
    total = ce(z[0], Y)[first].mean() + ce(z[1], Y)[second].mean()
    torch.testing.assert_close(out.loss.detach(), total)
    torch.testing.assert_close(grads[0], expected(FIRST, first))
    torch.testing.assert_close(grads[1], expected(SECOND, second))
    assert out.weight.tolist() == [0.5, 1.0, 0.5, 0.0]
    torch.testing.assert_close(out.logits, (z[0] + z[1]) / 2)


@pytest.mark.parametrize("agreement", [0.0, 0.85, 1.0])
def test_jocor_is_its_formula(step, agreement):
    z = [torch.tensor(logits, dtype=torch.float64, requires_grad=True) for logits in (FIRST, SECOND)]
    log_p, log_q = (each.log_softmax(1) for each in z)
    kl = [F.kl_div(a, b, reduction="none", log_target=True).sum(1) for a, b in ((log_p, log_q), (log_q, log_p))]
    rows = (1 - agreement) * (ce(z[0], Y) + ce(z[1], Y)) + agreement * (kl[0] + kl[1])
    torch.testing.assert_close(divergence(*z), kl[0] + kl[1])
    kept = rows.topk(3, largest=False).indices
    rows[kept].mean().backward()
    _, out, grads = step(CoTeaching("joint", forget_rate=0.25, ramp_epochs=1, agreement=agreement))
    torch.testing.assert_close(out.loss.detach(), rows[kept].mean().detach())
    torch.testing.assert_close(grads[0], z[0].grad)
    torch.testing.assert_close(grads[1], z[1].grad)
    assert out.weight.sum() == 3


def test_how_much_is_forgotten():
    """Their code comes to tau an epoch early (tau / 9 in epoch 1), and takes tau^c, which is .2 here, for t^c."""
    shares = lambda *epochs, **options: [  # noqa: E731
        pytest.approx(CoTeaching(forget_rate=0.45, **options).forgotten_share(epoch)) for epoch in epochs
    ]
    assert shares(1, 5, 9, 10, 11, 200) == [0.045, 0.225, 0.405, 0.45, 0.45, 0.45]
    assert shares(1, 3, 4, exponent=2.0) == [0.045, 0.405, 0.45]
    assert shares(5, 10, 60, 110, 200, double_by=110) == [0.225, 0.45, 0.675, 0.9, 0.9]
    assert CoTeaching(forget_rate=0.9, double_by=11).forgotten_share(99) == 1.0  # one row is kept


PLUS = {"disagreement": True, "ramp_epochs": 1}
# predictions 0 1 0 2 and 1 1 2 1: rows 0, 2, 3 differ


@pytest.mark.parametrize("epoch, steps", [(1, 0), (1000, 0), (1000, 100_000)])
def test_co_teaching_plus_ranks_rows_that_differ_by_their_plain_loss(step, epoch, steps):
    """Of rows 0, 2, 3 floor(.5 * 3) = 1 is kept: by the first network row 0, by the second row 2. Their code passes
    the logits through a softmax before the cross-entropy, drops row 0 from the rows that differ, and has a weight that
    turns to 0 after 5,000 (epoch times batch)."""
    _, out, grads = step(CoTeaching(forget_rate=0.5, **PLUS), epoch, steps=steps)
    torch.testing.assert_close(grads[0], expected(FIRST, [2]))
    torch.testing.assert_close(grads[1], expected(SECOND, [0]))
    assert out.weight.tolist() == [0.5, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("none_differ, rows", [("all", [0, 1, 2, 3]), ("nothing", [])])
def test_where_no_two_predictions_differ(step, none_differ, rows):
    """Their code trains on the whole batch, without forgetting; later its weight makes this nothing."""
    method = CoTeaching(forget_rate=0.5, none_differ=none_differ, **PLUS)
    _, out, grads = step(method, nets=(FIRST, FIRST))
    for grad in grads:
        torch.testing.assert_close(grad, expected(FIRST, rows) if rows else torch.zeros_like(grad))
    assert out.loss.isfinite() and out.weight.sum() == len(rows)


def test_all_rows_are_ranked_until_disagreement_begins(step):
    chosen = [step(CoTeaching(forget_rate=0.5, init_epochs=2, **PLUS), epoch)[1].weight.tolist() for epoch in (2, 3)]
    assert chosen == [[0.5, 1.0, 0.5, 0.0], [0.5, 0.0, 0.5, 0.0]]


def test_chosen_and_forgotten_rows(step):
    """Row 1 agrees, so that it is not ranked, and nothing speaks against it. Two epochs, the second the same."""
    method = CoTeaching(forget_rate=0.5, **PLUS)
    ctx, _, _ = step(method)
    method.on_epoch_end(ctx)
    values = method.sample_values()
    assert values["chosen"].tolist() == [0.5, 0.0, 0.5, 0.0]
    assert values["forgotten"].tolist() == [0.5, 0.0, 0.5, 1.0]
    ctx.epoch, ctx.batch_size = 2, 2
    method.on_epoch_start(ctx)
    method.loss(ctx, ctx.fetch(torch.tensor([1, 3])))  # alone they are ranked by who differs: row 3 is kept by both
    method.on_epoch_end(ctx)
    assert method.sample_values()["chosen"].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert method.sample_values()["forgotten"].tolist() == [0.5, 0.0, 0.5, 0.5]


def test_the_share_of_wrong_labels_is_estimated(context, monkeypatch):
    """Three of twelve labels are not the class that both networks are sure of: tau = 1/4 from epoch 2 on, looked for
    until T_k. From then on it stays, whatever the networks have come to fit."""
    target = torch.arange(12) % 3
    logits = 6.0 * F.one_hot((target + (torch.arange(12) < 3)) % 3, 3) + 0.1 * torch.arange(36).view(12, 3).cos()
    ctx = context(table(logits.tolist()), table(logits.tolist()), rows=Resident(torch.eye(12).double(), target))
    method, reads = CoTeaching(ramp_epochs=4), []
    bring = host.bring
    monkeypatch.setattr(host, "bring", lambda value, why: reads.append(why) or bring(value, why))
    method.setup(ctx)
    taus = []
    for ctx.epoch in range(1, 8):
        if ctx.epoch == 6:
            for net in ctx.networks:
                net.weight.data.zero_()
        method.on_epoch_start(ctx)
        taus.append(method.logs()["forget_rate"])
    assert taus == [0.0] + [0.25] * 6 and reads == ["losses to divide"] * 3
    assert method.keep == 0.75 and method.told() == []
    again = CoTeaching(ramp_epochs=4)
    again.setup(ctx)
    again.load_state_dict(method.state_dict())
    again.on_epoch_start(ctx)
    assert again.keep == 0.75


def test_evaluation_takes_every_row_and_both_networks(context, short_passes):
    """Twelve rows in passes of five: their code leaves out the last, which is not full."""
    nets = [nn.Linear(4, 3) for _ in range(2)]
    rows = Resident(torch.randn(12, 4), torch.arange(12) % 3)
    ctx = context(*nets, rows=rows)
    found = predict(ctx, CoTeaching(), rows)
    torch.testing.assert_close(found, (nets[0](rows.input) + nets[1](rows.input)).detach() / 2)


def test_one_row_and_two_classes(step):
    nets = [[[0.0, 1.0]], [[2.0, 0.0]]]
    for options in ({}, PLUS, {"select": "joint"}):
        _, out, _ = step(CoTeaching(forget_rate=0.9, **options), nets=nets, target=torch.tensor([1]))
        assert out.weight.tolist() == [1.0] and out.loss.isfinite()


def test_what_it_was_told_and_when_it_never_acts():
    assert CoTeaching(forget_rate=0.2).told() == ["method.forget_rate=0.2"]
    assert CoTeaching(forget_rate=0).told() == []
    assert CoTeaching(forget_rate=0).never_acts(9, 9) == ["never forgot: method.forget_rate is 0"]
    assert CoTeaching().never_acts(1, 9)[0].startswith("never forgot: method.forget_rate is estimated from epoch 2 on")
    (said,) = CoTeaching(disagreement=True, init_epochs=5).never_acts(5, 9)
    assert said == "never disagreed: method.init_epochs is 5, of 5 epochs"
    for acts in (CoTeaching(), CoTeaching("joint", forget_rate=0), CoTeaching(forget_rate=0, disagreement=True)):
        assert acts.never_acts(5, 9) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"select": "both"}, "select is 'both'; it must be one of peer, joint, own"),
        ({"none_differ": "some"}, "none_differ is 'some'"),
        ({"forget_rate": 1.0}, r"forget_rate is 1.0; it must be estimate, or a number in \[0, 1\)"),
        ({"forget_rate": "guess"}, "forget_rate is guess"),
        ({"ramp_epochs": 0}, "ramp_epochs is 0"),
        ({"exponent": 0}, "exponent is 0"),
        ({"double_by": 10}, r"double_by is 10; it must be a whole number > ramp_epochs \(10\)"),
        ({"init_epochs": -1}, "init_epochs is -1"),
        ({"agreement": 1.5}, "agreement is 1.5"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        CoTeaching(**options)
