"""PES: the last layers trained anew, rows that agree, classes weighted, and what its authors' code does besides."""

import copy

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.pes import PES, class_weights


def deep():
    """Five layers in float64: three dense ones, of which two are followed by BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)
    ).double()  # fmt: skip


@pytest.fixture
def begun(context):
    """begun(...) -> (ctx, method) on twelve rows, in the epoch before the first that is divided."""

    def make(network=None, **options):
        random = torch.Generator().manual_seed(0)
        rows = Resident(torch.randn(12, 4, dtype=torch.float64, generator=random), torch.arange(12) % 3)
        ctx = context((network or deep()).train(), rows=rows, momentum=0.9)
        method = PES(**{"warmup_epochs": 1, "refine_lr": 0.01} | options)
        method.setup(ctx)
        return ctx, method

    return make


def plain_epoch(ctx, method):
    ctx.epoch = 1
    method.on_epoch_start(ctx)
    for batch in method.batches(ctx):
        train_step(ctx, method, batch, 0.1)


def test_class_weights_by_hand():
    """Counts 4, 1, 0 and 13 of those chosen: their mean is 6, so 6/4, 6 capped at 3, none, 6/13."""
    target = torch.tensor([0] * 4 + [1] + [3] * 13 + [2, 2])
    found = class_weights(target, torch.arange(20) < 18, 4)
    torch.testing.assert_close(found, torch.tensor([1.5, 3.0, 0.0, 6 / 13]))
    assert class_weights(target, torch.zeros(20, dtype=torch.bool), 4).tolist() == [0] * 4


@pytest.mark.parametrize("refine_layers, first", [(1, 6), (2, 3), (9, 3)])
def test_the_last_layers_train_anew_and_the_others_stay_as_they_are(begun, refine_layers, first):
    """As plain Adam on them does, from their first weights; before them even BatchNorm's statistics stay."""
    start = deep()
    ctx, method = begun(refine_layers=refine_layers, refine_epochs=2)
    plain_epoch(ctx, method)
    by_hand, before = copy.deepcopy(ctx.model), copy.deepcopy(ctx.model.state_dict())
    passes = copy.deepcopy(ctx)
    ctx.epoch = passes.epoch = 2
    method.on_epoch_start(ctx)

    last = [p for name, p in by_hand.named_parameters() if int(name.split(".")[0]) >= first]
    own = dict(start.named_parameters())
    for name, p in by_hand.named_parameters():
        if int(name.split(".")[0]) >= first:
            p.data.copy_(own[name].data)
    by_hand[:first].eval()
    optimizer = torch.optim.Adam(last, 0.01)
    for _ in range(2):
        for batch in passes.training_batches():
            optimizer.zero_grad()
            nn.functional.cross_entropy(by_hand(batch.input), batch.target).backward()
            optimizer.step()
    for name, value in ctx.model.state_dict().items():
        torch.testing.assert_close(value, by_hand.state_dict()[name], rtol=1e-9, atol=1e-12)
        assert torch.equal(value, before[name]) == (int(name.split(".")[0]) < first)
    assert all(p.requires_grad and p.grad is None for p in ctx.model.parameters())
    assert all(module.training for module in ctx.model.modules())
    moving = [bool(ctx.optimizer.state[p]["momentum_buffer"].any()) for p in ctx.model.parameters()]
    assert moving == [int(name.split(".")[0]) < first for name, _ in ctx.model.named_parameters()]


def test_the_new_head_goes_on_training(begun):
    """In the authors' code the optimiser has the weights of the old one, and the new one never moves again."""
    ctx, method = begun()
    plain_epoch(ctx, method)
    ctx.epoch = 2
    method.on_epoch_start(ctx)
    method.labelled = torch.arange(12) < 6
    before = ctx.model[6].weight.detach().clone()
    train_step(ctx, method, next(iter(method.batches(ctx))), 0.1)
    assert not torch.equal(before, ctx.model[6].weight)
    ctx.epoch = 3  # refinement comes once
    before = [p.detach().clone() for p in ctx.model.parameters()]
    method.on_epoch_start(ctx)
    assert all(torch.equal(old, p) for old, p in zip(before, ctx.model.parameters()))


def test_rows_whose_label_is_predicted_are_labelled(begun):
    ctx, method = begun(refine_epochs=0)
    ctx.epoch = 2
    method.on_epoch_start(ctx)
    agrees = method.predict_train(ctx).argmax(1) == ctx.targets
    assert method.sample_values()["disagrees"].tolist() == (~agrees).tolist()
    count = int(agrees.sum())
    assert 2 <= count <= 10 and method.logs() == {"labelled": pytest.approx(count / 12)}
    found = {}
    method.mixmatch = lambda forward, views, *rest: found.update(zip(("targets", "epochs", "scale"), rest))
    for batch in method.batches(ctx):
        method.loss(ctx, batch)
        labelled, unlabelled = batch.pieces()
        assert agrees[labelled.index].all() and not agrees[unlabelled.index].any()
        assert found["targets"][0].argmax(1).tolist() == labelled.target.tolist()  # as given, not refined
        assert found["targets"][0].sum(1).eq(1).all() and found["targets"][0].amax(1).eq(1).all()
    torch.testing.assert_close(found["scale"][0], class_weights(ctx.targets, agrees, 3))
    assert found["epochs"] == 0.5  # the second of two steps of the first epoch


@pytest.mark.parametrize("labelled, sizes", [(3, [3, 3]), (6, [3, 3]), (8, [4, 2]), (10, [4, 2])])
def test_an_epoch_has_as_many_steps_as_one_over_all_rows(begun, labelled, sizes):
    """Of six rows a step, half are unlabelled; fewer, their share, where they are fewer; two at least."""
    ctx, method = begun()
    ctx.epoch, method.labelled = 2, torch.arange(12) < labelled
    steps = list(method.batches(ctx))
    assert len(steps) == 2 and [len(piece.index) for piece in steps[0].pieces()] == sizes


@pytest.mark.parametrize("guess_mode, passes", [("eval", 1), ("train", 3)])
def test_guesses_move_batchnorm_only_as_in_the_authors_code(begun, guess_mode, passes):
    """There both views of the unlabelled rows pass without a gradient before the mixed batch."""
    ctx, method = begun(guess_mode=guess_mode, refine_epochs=0)
    ctx.epoch = 2
    method.on_epoch_start(ctx)
    method.loss(ctx, next(iter(method.batches(ctx))))
    assert ctx.model[1].num_batches_tracked == passes


def test_mixup_is_weaker_from_the_middle_on(begun):
    ctx, method = begun(late_epoch=3, alpha=4.0, alpha_late=0.5, refine_epochs=0)
    found = []
    for ctx.epoch in (2, 3):
        method.on_epoch_start(ctx)
        found.append(method.mixmatch.mixer.alpha)
    assert found == [4.0, 0.5]


def test_rows_that_cannot_be_divided_train_plainly(begun, caplog):
    ctx, method = begun(refine_epochs=0)
    ctx.table.target.copy_(method.predict_train(ctx).argmax(1))
    ctx.epoch = 2
    method.on_epoch_start(ctx)
    said = "pes, epoch 2: 12 labelled and 0 unlabelled rows, of each of which there must be two: a plain epoch"
    assert caplog.messages == [said]
    (batch, _) = method.batches(ctx)
    expected = nn.functional.cross_entropy(copy.deepcopy(ctx.model)(batch.input), batch.target)
    torch.testing.assert_close(method.loss(ctx, batch).loss, expected)
    assert method.logs() == {"labelled": 1.0}


def test_runs_that_were_told_the_noise_say_so():
    assert PES().told() == PES(lambda_u=75.0).told() == []
    assert PES(lambda_u=15.0).told() == ["method.lambda_u=15.0"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"warmup_epochs": -1},
        {"refine_epochs": 0.5},
        {"refine_layers": 0},
        {"late_epoch": 0},
        {"refine_lr": 0.0},
        {"temperature": -1.0},
        {"alpha": 0.0},
        {"lambda_u": -1.0},
        {"guess_mode": "both"},
    ],
)
def test_options_out_of_range(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        PES(**wrong)
