"""A-RRM: between its limits, RRM without a perturbation and AT without a re-weighting; and by hand."""

import copy

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.losses import ELR, ce
from lilawbench.methods.a_rrm import ARRM
from lilawbench.methods.at import AT
from lilawbench.methods.rrm import RRM, reweight

N = 12
RANDOM = torch.Generator().manual_seed(0)
ROWS = Resident(torch.randn(N, 4, dtype=torch.float64, generator=RANDOM), torch.randint(0, 3, (N,), generator=RANDOM))
TABLE = ROWS.batch(torch.arange(N))
pytestmark = pytest.mark.usefixtures("short_passes")
ROUND = {"gamma": 0.4, "mu": 1.0, "reweight_every_epochs": 1}


def scene(context, method):
    """A net with BatchNorm and dropout in training."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    ctx = context(model, rows=ROWS)
    method.setup(ctx)
    return ctx, method


def train(ctx, method, *epochs):
    for ctx.epoch in epochs:
        torch.manual_seed(ctx.epoch)
        ctx.model.train()
        method.on_epoch_start(ctx)
        for index in torch.randperm(N).split(4):
            ctx.batch_size = len(index)
            train_step(ctx, method, ctx.fetch(index), 0.2)
        method.on_epoch_end(ctx)


def same(one, other):
    """Whether two nets are equal to the bit, buffers included."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def moved(model, eps):
    """x + eps sign(grad_x l) of the whole table by plain backward, in eval mode."""
    model, leaf = copy.deepcopy(model).eval(), TABLE.input.clone().requires_grad_()
    ce(model(leaf), TABLE.target).sum().backward()
    return TABLE.input + eps * leaf.grad.sign()


@pytest.mark.parametrize("reweight_losses", ["sweep", "training"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_without_a_perturbation_it_is_rrm_to_the_bit(context, mode, reweight_losses):
    options = ROUND | {"reweight_losses": reweight_losses}
    rrm = scene(context, RRM(**options))
    zero, some = (scene(context, ARRM({"eps": eps, "mode": mode}, **options)) for eps in (0, 0.3))
    for run in (rrm, zero, some):
        train(*run, 1, 2, 3)
    assert same(rrm[0].model, zero[0].model) and same(rrm[1], zero[1]) and rrm[1].pruned.any()
    assert not same(rrm[0].model, some[0].model)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_until_it_reweights_it_is_adversarial_training_to_the_bit(context, mode):
    fgsm = {"eps": 0.3, "mode": mode}
    at, both = scene(context, AT(fgsm)), scene(context, ARRM(fgsm, **ROUND | {"reweight_every_epochs": 2}))
    for epoch in (1, 2, 3):
        train(*at, epoch)
        train(*both, epoch)
        assert same(at[0].model, both[0].model) == (epoch < 3)


def test_it_sweeps_perturbed_inputs_and_leaves_no_trace(context):
    ctx, method = scene(context, ARRM({"eps": 0.3}, **ROUND))
    train(ctx, method, 1)
    before, stream = copy.deepcopy(ctx.model), torch.get_rng_state()
    method.on_epoch_end(ctx)
    assert same(ctx.model, before) and torch.equal(torch.get_rng_state(), stream)
    assert all(p.grad is None for p in ctx.model.parameters()) and all(m.training for m in ctx.model.modules())

    model = copy.deepcopy(ctx.model).eval()
    attacked, clean = (ce(model(x), TABLE.target).detach().float() for x in (moved(model, 0.3), TABLE.input))
    assert torch.equal(method.u, reweight(attacked, 0.4)) and method.pruned.any()
    assert not torch.equal(method.u, reweight(clean, 0.4))


@pytest.mark.parametrize("loss_scale", ["mean", "paper"])
def test_batch_loss_by_hand(context, loss_scale):
    """The weights are in the loss and not in the attack: half of them are 0, and their inputs still move."""
    ctx, method = scene(context, ARRM({"eps": 0.3}, loss_scale=loss_scale))
    method.u[::2] = -1 / N
    method.u[1::2] = 1 / N
    method.on_epoch_start(ctx)
    ctx.model.eval()
    ctx.batch_size = 2 * N  # this rank has half of it
    out = method.loss(ctx, TABLE)
    inputs = moved(ctx.model, 0.3)
    assert (inputs != TABLE.input).all()
    expected = 2 * ce(ctx.model(inputs), TABLE.target)[1::2].sum() / N
    torch.testing.assert_close(out.loss, expected * (2 if loss_scale == "paper" else 1))
    torch.testing.assert_close(out.logits, ctx.model(inputs).detach())


def test_neither_attack_nor_sweep_teaches_elr(context):
    ctx, method = scene(context, ARRM({"eps": 0.3}, loss=ELR(), **ROUND))
    train(ctx, method, 1)
    table = method.per_sample.t.clone()
    assert not torch.equal(method.seen(ctx, TABLE), TABLE.input)
    method.on_epoch_end(ctx)
    assert table.any() and torch.equal(method.per_sample.t, table) and method.round == 2


def test_its_attack_is_no_state(context):
    """A checkpoint of A-RRM is one of RRM."""
    ctx, method = scene(context, ARRM())
    method.loss(ctx, TABLE)
    assert list(method.state_dict()) == list(scene(context, RRM())[1].state_dict())


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"fgsm": {"eps": -1}}, "eps is -1; it must be >= 0"),
        ({"fgsm": {"typo": 1}}, "fgsm.typo is not an option"),
        ({"gamma": 0}, "gamma is 0; it must be > 0"),
        ({"mu": 2}, "mu is 2; it must lie in"),
        ({"reweight_losses": "both"}, "reweight_losses is 'both'"),
        ({"loss_scale": "sum"}, "loss_scale is 'sum'"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ARRM(**wrong)


def test_options_reach_rrm():
    given = {"gamma": 0.7, "mu": 0.6, "penalty_scale": 1.0, "reweight_every_epochs": 3}
    given |= {"reweight_losses": "training", "loss_scale": "paper"}
    assert {name: getattr(ARRM(**given), name) for name in given} == given
    assert ARRM(contamination=0.2).mu == 1 and ARRM(contamination=0.2).contamination == 0.2
