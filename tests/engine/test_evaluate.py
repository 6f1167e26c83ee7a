"""Predictions over a split, clean and attacked, against the model by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lilawbench.engine.evaluate import predict
from lilawbench.loading.resident import EVAL_BATCH, Resident
from lilawbench.methods.supervised import Supervised
from lilawbench.probes.attack import predict_attacked
from lilawbench.support.distributed import World

ROWS, EPS = EVAL_BATCH + 90, [0.0, 0.1, 0.25, 0.5, 1.0]
RANDOM = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (ROWS, 1, 4, 4), dtype=torch.uint8, generator=RANDOM)
LABELS = torch.randint(0, 3, (ROWS,), generator=RANDOM)
DATA = Resident(IMAGES, LABELS, mean=(0.4,), std=(0.2,))
METHOD = Supervised()


@pytest.fixture
def ctx(context):
    """A net with BatchNorm and dropout in the middle of training."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Dropout(), nn.Linear(16, 3)
    )
    model(DATA.batch(torch.arange(64)).input)
    return context(model)


def by_hand(ctx):
    """The model in eval mode, and all rows as it sees them."""
    return copy.deepcopy(ctx.model).eval(), (IMAGES / 255 - 0.4) / 0.2


def close(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


def attack(model, x, eps, sign=True, clip=None):
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), LABELS, reduction="sum"), x)
    moved = x.detach() + eps * (gradient.sign() if sign else gradient)
    return moved if clip is None else moved.clamp(*clip)


def test_predict_is_the_model_in_eval_mode_row_by_row(ctx):
    model, x = by_hand(ctx)
    logits = predict(ctx, METHOD, DATA)
    close(logits, model(x).detach())
    assert not logits.requires_grad


@pytest.mark.parametrize("clip", [None, [-1.5, 2.0]])
@pytest.mark.parametrize("sign", [True, False])
def test_every_attack_starts_from_the_clean_input(ctx, sign, clip):
    model, x = by_hand(ctx)
    logits = predict_attacked(ctx, METHOD, DATA, EPS, sign, clip)
    assert logits.shape == (5, ROWS, 3) and not logits.requires_grad
    for eps, found in zip(EPS, logits, strict=True):
        close(found, model(attack(model, x, eps, sign, clip)).detach())
        assert torch.equal(found, predict_attacked(ctx, METHOD, DATA, [eps], sign, clip)[0])


def test_attacks_do_not_accumulate(ctx):
    """The negative control: what an attack on the attacked input would give is something else."""
    model, x = by_hand(ctx)
    for eps in EPS[1:3]:
        x = attack(model, x, eps)
    assert (predict_attacked(ctx, METHOD, DATA, EPS[1:3])[1] - model(x)).abs().max() > 0.01


def test_eps_zero_is_the_clean_prediction_and_more_hurts(ctx):
    logits = predict_attacked(ctx, METHOD, DATA, EPS)
    assert torch.equal(logits[0], predict(ctx, METHOD, DATA))
    losses = [F.cross_entropy(part, LABELS).item() for part in logits]
    assert losses == sorted(losses) and losses[-1] > losses[0] + 0.1


def test_neither_leaves_a_trace(ctx):
    before, stream = copy.deepcopy(ctx.model.state_dict()), torch.get_rng_state()
    predict(ctx, METHOD, DATA), predict_attacked(ctx, METHOD, DATA, EPS)
    assert all(torch.equal(value, before[name]) for name, value in ctx.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream) and all(m.training for m in ctx.model.modules())
    assert all(p.grad is None for p in ctx.model.parameters())
    assert (DATA.input == IMAGES).all()


def test_ranks_predict_their_own_rows(ctx):
    """A sum over the ranks then is the whole."""

    class Deaf(World):
        def sum_(self, tensor):
            return tensor

    whole, parts = (predict(ctx, METHOD, DATA), predict_attacked(ctx, METHOD, DATA, EPS[:2])), []
    for rank in range(3):
        ctx.world = Deaf(rank, 3)
        parts.append((predict(ctx, METHOD, DATA), predict_attacked(ctx, METHOD, DATA, EPS[:2])))
    assert all(part[0].any(1).sum() < ROWS / 2 for part in parts)
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        close(sum(found), expected)
