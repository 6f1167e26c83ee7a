"""DivideMix: who divides for whom, the targets, whose turn it is, and what its authors' code does besides."""

import logging
import math

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.losses import ce
from lilawbench.methods.dividemix import DivideMix
from lilawbench.methods.parts.divide import half_and_half, right_probability, scaled, too_few

RIGHT, WRONG = torch.tensor([4.0, 0.0, 0.0]), torch.tensor([-4.0, 0.0, 0.0])


class Table(nn.Module):
    """Says of each row what the test says; row numbers are its inputs."""

    def __init__(self, logits):
        super().__init__()
        self.weight = nn.Parameter(logits.double())

    def forward(self, input):
        return self.weight[input[:, 0].long()]


def two(context, *networks, rows=None, **options):
    """DivideMix on twelve rows and two networks, by default linear ones in float64."""
    random = torch.Generator().manual_seed(0)
    if rows is None:
        input = torch.randn(12, 4, dtype=torch.float64, generator=random)
        rows = Resident(input, torch.arange(12) % 3)
    torch.manual_seed(0)
    networks = networks or [nn.Linear(4, 3, dtype=torch.float64) for _ in range(2)]
    method, ctx = DivideMix(**{"warmup_epochs": 0} | options), context(*networks, rows=rows)
    method.setup(ctx)
    ctx.epoch = 1
    return ctx, method


def divided(context, *networks, **options):
    """The same, with rows 0 to 7 labelled for network 1 and 4 to 11 for network 2."""
    ctx, method = two(context, *networks, **options)
    method.on_epoch_start(ctx)
    rows = torch.arange(12)
    method.labelled = [rows < 8, rows >= 4]
    method.right = torch.linspace(0, 1, 24, dtype=torch.float64).view(2, 12)
    return ctx, method


def test_a_mixture_tells_small_losses_from_large_ones():
    losses = torch.tensor([[0.1, 0.2, 3.0, 0.15, 2.8], [5.0, 5.2, 5.1, 0.2, 0.1]])
    assert (right_probability(losses) > 0.5).tolist() == [[True, True, False, True, False], [False] * 3 + [True] * 2]
    assert right_probability(torch.ones(2, 4)).tolist() == [[1.0] * 4] * 2  # one component: nothing is suspicious
    assert scaled(torch.tensor([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])).tolist() == [[0, 1, 0.5], [0, 0, 0]]


def test_each_network_is_given_the_division_of_the_other(context):
    right = torch.arange(12) < 8
    first, second = (torch.where(part[:, None], RIGHT, WRONG) for part in (right, ~right))
    rows = Resident(torch.arange(12.0)[:, None], torch.zeros(12, dtype=torch.int64))
    ctx, method = two(context, Table(first), Table(second), rows=rows)
    method.on_epoch_start(ctx)
    assert method.labelled[0].tolist() == (~right).tolist() and method.labelled[1].tolist() == right.tolist()
    values = method.sample_values()
    torch.testing.assert_close(values["high_loss"], torch.full((12,), 0.5), atol=1e-3, rtol=0)
    assert method.logs() == {"labelled": pytest.approx(0.5)}


def test_targets_by_hand(context):
    """T = .5 squares and normalises. w of the peer; the guess for unlabelled rows is the mean of four softmaxes."""
    ctx, method = divided(context)
    found = {}
    method.mixmatch = lambda forward, views, *rest: found.update(zip(("targets", "epochs", "scale"), rest))
    ctx.epoch = 3
    for turn, batch in zip((0, 0, 0, 1), method.batches(ctx)):
        method.loss(ctx, batch)
        labelled, unlabelled = batch.pieces()
        net, peer = ctx.networks[turn], ctx.networks[1 - turn]
        assert method.turn == turn and found["scale"] is None
        own = sum(net(view).softmax(1) for view in (labelled.input, labelled.views["weak2"])) / 2
        w = method.right[1 - turn][labelled.index][:, None]
        refined = w * nn.functional.one_hot(labelled.target, 3) + (1 - w) * own
        guess = sum(n(view).softmax(1) for n in (net, peer) for view in (unlabelled.input, unlabelled.views["weak2"]))
        for target, probs in zip(found["targets"], (refined, guess)):
            torch.testing.assert_close(target, probs**2 / (probs**2).sum(1, keepdim=True))
    assert method.position == 0 and found["epochs"] == 2  # of the second network's pass; two epochs are done


def test_network_two_trains_after_network_one_on_the_division_made_before(context, monkeypatch):
    ctx, method = divided(context)
    asked, moved = [], []
    monkeypatch.setattr(method, "predict_train", lambda ctx, number: asked.append(number))
    for batch in method.batches(ctx):
        before = [net.weight.detach().clone() for net in ctx.networks]
        train_step(ctx, method, batch, 0.1)
        moved.append([not torch.equal(old, net.weight) for old, net in zip(before, ctx.networks)])
        labelled, unlabelled = batch.pieces()
        own = method.labelled[method.turn]
        assert own[labelled.index].all() and not own[unlabelled.index].any()
    assert moved == [[True, False]] * 3 + [[False, True]] * 3 and not asked  # 8 labelled rows, 3 a step: 3 + 3 + 2


@pytest.mark.parametrize("guess_mode, passes", [("eval", 1), ("train", 5)])
def test_guesses_move_batchnorm_only_as_in_the_authors_code(context, guess_mode, passes):
    """There four passes without a gradient, of two views of either part, come before the mixed one; the peer's none."""
    networks = [nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double() for _ in range(2)]
    ctx, method = divided(context, *networks, guess_mode=guess_mode)
    for net in networks:
        net.train()
    method.loss(ctx, next(iter(method.batches(ctx))))
    assert [int(net[1].num_batches_tracked) for net in networks] == [passes, 0]
    assert all(net.training for net in networks)


@pytest.mark.parametrize("penalty", [False, True])
def test_warm_up_is_plain_with_the_penalty_of_confidence_where_it_is_asked_for(context, penalty):
    ctx, method = two(context, warmup_epochs=1, penalty=penalty)
    method.on_epoch_start(ctx)
    turns = []
    for batch in method.batches(ctx):
        logits = ctx.networks[method.turn](batch.input)
        expected = ce(logits, batch.target).mean()
        if penalty:
            expected = expected - torch.distributions.Categorical(logits=logits).entropy().mean()
        torch.testing.assert_close(method.loss(ctx, batch).loss, expected)
        turns.append(method.turn)
    assert turns == [0, 0, 1, 1] and method.sample_values() == {} == method.logs()


def test_the_mean_of_the_last_scaled_losses_is_divided(context):
    _, method = two(context, loss_history=2)
    rounds = [torch.tensor([[0.0, 1.0, 2.0], [0.0, 4.0, 2.0]]), torch.tensor([[3.0, 1.0, 2.0], [0.0, 4.0, 2.0]])]
    method.history = torch.full((2, 2, 3), math.nan)
    assert method._remembered(rounds[0]).tolist() == [[0, 0.5, 1], [0, 1, 0.5]]
    assert method._remembered(rounds[1]).tolist() == [[0.5, 0.25, 0.75], [0, 1, 0.5]]
    assert method._remembered(rounds[1]).tolist() == [[1, 0, 0.5], [0, 1, 0.5]]


def test_rows_that_cannot_be_divided_train_plainly(context, caplog):
    ctx, method = two(context)
    for net in ctx.networks:
        nn.init.zeros_(net.weight), nn.init.zeros_(net.bias)  # the same loss everywhere: nobody is unlabelled
    method.on_epoch_start(ctx)
    assert method.labelled == [None, None] and [len(b.index) for b in method.batches(ctx)] == [6] * 4
    said = "dividemix, epoch 1: network 1 has 12 labelled and 0 unlabelled rows, of each of which there must be two"
    assert f"{said}: a plain epoch" in caplog.messages and len(caplog.records) == 2
    assert caplog.records[0].levelno == logging.WARNING
    for count, fine in ((0, False), (1, False), (2, True), (10, True), (11, False)):
        assert (too_few(torch.arange(12) < count) == "") == fine


def test_the_shorter_part_begins_anew(context):
    ctx, _ = two(context)
    labelled = torch.arange(12) < 10
    steps = list(half_and_half(ctx, labelled, (3, 3)))
    assert [[len(piece.index) for piece in step.pieces()] for step in steps] == [[3, 2], [3, 2], [4, 2]]
    first = torch.cat([step.pieces()[0].index for step in steps])
    assert sorted(first.tolist()) == list(range(10))
    assert all(sorted(step.pieces()[1].index.tolist()) == [10, 11] for step in steps)
    assert len(list(half_and_half(ctx, labelled, (3, 3), 7))) == 7


def test_rrm_weighs_the_supervised_term_of_each_network(context):
    """Half of the rows lose their weight, those of the largest losses; the smallest has all of theirs: 1 + 6."""
    ctx, method = divided(context, rrm={"contamination": 0.5, "reweight_every_epochs": 2})
    assert all((one.weight == 1).all() for one in method.reweighted)  # no epoch was trained yet
    ctx.epoch = 3
    method.on_epoch_start(ctx)
    for number, one in enumerate(method.reweighted):
        losses = ce(ctx.networks[number](ctx.table.input), ctx.targets)
        expected = torch.ones(12).index_fill(0, losses.argsort()[6:], 0).index_fill(0, losses.argmin(), 7)
        torch.testing.assert_close(one.weight, expected)
    ctx, method = divided(context, rrm={"contamination": 0.5, "over": "labelled", "reweight_every_epochs": 1})
    ctx.epoch, found = 2, []
    method._reweight(ctx, torch.arange(24.0).view(2, 12))
    assert method.reweighted[0].weight.tolist() == [5, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]  # of the first eight rows
    method.mixmatch = lambda forward, views, targets, epochs, scale: found.append(scale[:, 0])
    batch = next(iter(method.batches(ctx)))
    method.loss(ctx, batch)
    labelled, unlabelled = batch.pieces()
    assert found[0].tolist() == [*method.reweighted[0].weight[labelled.index].tolist(), *[1] * len(unlabelled.index)]
    assert {"weight", "pruned", "lowest_weight"} < method.sample_values().keys()


def test_runs_that_were_told_the_noise_say_so():
    assert DivideMix().told() == DivideMix(lambda_u=150.0).told() == []
    told = DivideMix(lambda_u=0.0, penalty=True, p_threshold=0.6, loss_history=5, rrm={"contamination": 0.4}).told()
    assert told == [
        "method.lambda_u=0.0", "method.p_threshold=0.6", "method.penalty=true", "method.loss_history=5",
        "method.rrm.contamination=0.4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"warmup_epochs": -1}, "warmup_epochs is -1"),
        ({"p_threshold": 1.0}, "p_threshold is 1.0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"loss_history": 0}, "loss_history is 0"),
        ({"loss_history": 9999999}, "loss_history is 9999999; it must be a whole number in 1..100"),
        ({"guess_mode": "both"}, "guess_mode is 'both'"),
        ({"rrm": {"over": "some"}}, "rrm.over is 'some'"),
        ({"rrm": {"reweight_every_epochs": 0}}, "rrm.reweight_every_epochs is 0"),
        ({"rrm": {"mu": 2.0}}, "rrm: mu is 2.0"),
        ({"rrm": {"sigma": 2}}, "rrm: .*sigma"),
    ],
)
def test_options_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        DivideMix(**wrong)
