"""AT and the adversary it shares with A-RRM: perturbations against autograd by hand, and no trace of taking them."""

import copy

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import train_step
from lilawbench.loading.batch import Batch
from lilawbench.losses import ELR, ce, mse
from lilawbench.methods.a_rrm import ARRM
from lilawbench.methods.at import AT, Adversary, adversary
from lilawbench.methods.parts.fgsm import Pixels
from lilawbench.methods.supervised import Supervised
from lilawbench.support.errors import ConfigError

RANDOM = torch.Generator().manual_seed(0)
BATCH = Batch(
    torch.arange(6),
    torch.randn(6, 4, dtype=torch.float64, generator=RANDOM),
    torch.tensor([0, 2, 1, 1, 0, 2]),
)


def restless():
    """BatchNorm and dropout, in the middle of training."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    model(BATCH.input * 2 + 1)
    return model.train()


def direction(model, loss):
    """sign(grad_x l) by plain backward, in whatever mode the model is."""
    leaf = BATCH.input.clone().requires_grad_()
    loss(model(leaf), BATCH.target).sum().backward()
    return leaf.grad.sign()


def train(ctx, method, steps):
    method.setup(ctx)
    for _ in range(steps):
        train_step(ctx, method, BATCH, 0.1)
    return torch.cat([p.detach().flatten() for p in ctx.model.parameters()])


@pytest.mark.parametrize("loss", [ce, mse])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_perturbation_is_eps_times_the_sign_of_the_gradient(context, mode, loss):
    model, seed = restless(), 5
    twin = copy.deepcopy(model).train(mode == "train")
    torch.manual_seed(seed)
    expected = BATCH.input + 0.3 * direction(twin, loss)
    torch.manual_seed(seed)
    moved = Adversary(0.3, mode=mode).perturb(AT(loss=loss), context(model), BATCH)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-15)
    assert not moved.requires_grad


def test_eval_and_train_mode_differ(context):
    model = restless()
    one, other = (Adversary(0.3, mode=mode).perturb(AT(), context(model), BATCH) for mode in ("eval", "train"))
    assert (one != other).any()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_perturbation_leaves_no_trace(context, mode):
    model, method = restless(), AT({"eps": 0.5, "mode": mode}, loss=ELR())
    ctx = context(model)
    method.setup(ctx)
    train_step(ctx, method, BATCH, 0.1)
    state, own = copy.deepcopy(model.state_dict()), copy.deepcopy(method.state_dict())
    stream, clean = torch.get_rng_state(), BATCH.input.clone()
    method.adversary.perturb(method, ctx, BATCH)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert own["per_sample.t"].any() and torch.equal(method.per_sample.t, own["per_sample.t"])
    assert torch.equal(torch.get_rng_state(), stream) and all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters()) and torch.is_grad_enabled()
    assert torch.equal(BATCH.input, clean)


def test_the_loss_learns_from_the_step_and_not_from_the_attack(context):
    """ELR's table is .3 s of the perturbed inputs: one update, of what the step saw."""
    model, method = restless().eval(), AT({"eps": 0.5}, loss=ELR())
    ctx = context(model)
    method.setup(ctx)
    method.adversary.perturb(method, ctx, BATCH)
    assert not method.per_sample.t.any()
    out = method.loss(ctx, BATCH)
    moved = BATCH.input + 0.5 * direction(model, ce)  # with an empty table ELR is cross-entropy
    expected = 0.3 * model(moved).softmax(1)
    torch.testing.assert_close(method.per_sample.t[:6].double(), expected.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(out.logits, model(moved).detach())


def test_step_trains_on_the_perturbed_inputs_as_constants(context):
    model = restless().eval()
    ctx, method = context(model), AT({"eps": 0.4, "clip": [-1, 1.5]})
    out = method.loss(ctx, BATCH)
    moved = (BATCH.input + 0.4 * direction(model, ce)).clamp(-1, 1.5)
    model.zero_grad()
    expected = ce(model(moved), BATCH.target).mean()
    torch.testing.assert_close(out.loss, expected)
    found = torch.autograd.grad(out.loss, list(model.parameters()))
    for one, other in zip(found, torch.autograd.grad(expected, list(model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)
    assert out.weight is None and not out.logits.requires_grad
    assert out.loss > ce(model(BATCH.input), BATCH.target).mean()


def test_every_part_of_a_batch_is_attacked_by_itself(context):
    """As it is when the batch is whole, and as often as it is asked for: nothing is kept from one call to the next."""
    ctx, method = context(restless().eval()), AT({"eps": 0.4})
    whole, *parts = (method.loss(ctx, part) for part in (BATCH, *BATCH.split(2)))
    torch.testing.assert_close(torch.cat([part.logits for part in parts]), whole.logits)
    assert torch.equal(method.loss(ctx, BATCH).loss, whole.loss)
    assert whole.loss > ce(ctx.model(BATCH.input), BATCH.target).mean()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_eps_zero_is_plain_training_to_the_bit(context, mode):
    """Dropout masks included: the attack's forward takes nothing from the random stream."""
    ends = []
    for method in (Supervised(), AT({"eps": 0, "mode": mode}), AT({"eps": 0.1, "mode": mode})):
        ctx = context(restless())
        torch.manual_seed(1)
        ends.append(train(ctx, method, 4))
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_options_of_the_yaml():
    default, given = adversary(None), adversary({"eps": 0.5, "clip": [0, 1], "mode": "train", "space": "unit"})
    assert (default.eps, default.clip, default.mode, default.space) == (1.0, None, "eval", "input")
    assert (given.eps, given.clip, given.mode, given.space) == (0.5, [0, 1], "train", "unit")


@pytest.mark.parametrize("method", [AT, ARRM])
def test_unit_space_is_that_of_pixels(context, method):
    """eps .1 of a channel whose std is .25 moves its input by .4, as far as pixels go; other data have no pixels."""
    torch.manual_seed(0)
    images = Batch(torch.arange(6), torch.rand(6, 1, 2, 2) * 4 - 2, torch.tensor([0, 2, 1, 1, 0, 2]))
    ctx, unit = context(nn.Sequential(nn.Flatten(), nn.Linear(4, 3))), method({"eps": 0.1, "space": "unit"})
    with pytest.raises(ConfigError, match="method.fgsm.space=unit needs images"):
        unit.setup(ctx)
    ctx.pixels = Pixels(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 0.25))
    unit.setup(ctx)
    far = method({"eps": 0.4, "clip": [-2, 2]}).adversary.perturb(unit, ctx, images)
    torch.testing.assert_close(unit.adversary.perturb(unit, ctx, images), far)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"eps": -1}, "eps is -1; it must be >= 0"),
        ({"clip": [1, 0]}, r"clip is \[1, 0\]; it must be null or \[lo, hi\] with lo < hi"),
        ({"space": "pixels"}, "space is 'pixels'; it must be input or unit"),
        ({"mode": "both"}, "fgsm.mode is 'both'; it must be eval or train"),
        ({"eps": 1, "typo": 1}, r"fgsm.typo is not an option \(valid: eps, clip, space, mode\)"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AT(options)
