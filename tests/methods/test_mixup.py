"""mixup against its formula, on a hand-worked batch."""

import math

import pytest
import torch
from torch import nn

from lilawbench.engine.optim import build_schedule
from lilawbench.loading.resident import Resident
from lilawbench.losses import ELR, BalancedSoftmax, ce
from lilawbench.methods.mixup import Mixup
from lilawbench.methods.parts.mixing import Mix
from lilawbench.schema import Train
from lilawbench.support.errors import ConfigError


def fixed(method, share, partner):
    """The method with one mix for all steps."""
    method.mixer = lambda count, device: Mix(share, torch.tensor(partner))
    return method


def test_by_hand(context):
    """Two rows x = 0, ln 9 with logits (0, x), labels 0, 1, and share 1/2: both are mixed to ln 3, s = (1/4, 3/4).

    The loss of either is (ln 4 + ln 4/3) / 2.
    """
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[0.0], [1.0]])
    ctx = context(model, rows=Resident(torch.tensor([[0.0], [math.log(9)]]), torch.tensor([0, 1])), num_classes=2)
    out = fixed(Mixup(), 0.5, [1, 0]).loss(ctx, ctx.fetch(torch.tensor([0, 1])))
    assert out.loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, abs=1e-6)
    torch.testing.assert_close(out.logits.softmax(1), torch.tensor([[0.25, 0.75]] * 2))


def test_its_loss_is_cross_entropy_of_mixed_labels(scene):
    """lam CE(y) + (1 - lam) CE(y') is CE against lam y + (1 - lam) y'; and so is its gradient."""
    ctx, method = scene(fixed(Mixup(), 0.3, [2, 0, 1, 3]))
    batch = ctx.fetch(torch.tensor([4, 7, 1, 9]))
    found = method.loss(ctx, batch)
    gradient = torch.autograd.grad(found.loss, ctx.model.weight)[0]
    mixed = 0.3 * batch.input + 0.7 * batch.input[[2, 0, 1, 3]]
    label = nn.functional.one_hot(batch.target, 3).double()
    expected = nn.functional.cross_entropy(ctx.model(mixed), 0.3 * label + 0.7 * label[[2, 0, 1, 3]])
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, ctx.model.weight)[0])


def test_a_share_of_1_is_plain_training(scene):
    ctx, method = scene(fixed(Mixup(), 1.0, [1, 2, 3, 0]))
    batch = ctx.fetch(torch.tensor([4, 7, 1, 9]))
    torch.testing.assert_close(method.loss(ctx, batch).loss, ce(ctx.model(batch.input), batch.target).mean())


def test_losses_that_count_classes_are_mixed_and_those_that_remember_rows_refused(scene):
    ctx, method = scene(Mixup(BalancedSoftmax()))
    method.on_epoch_start(ctx)
    assert method.loss(ctx, ctx.fetch(torch.arange(4))).loss.isfinite()
    with pytest.raises(ConfigError, match="method=mixup: ELR remembers each row's predictions"):
        scene(Mixup(ELR()))


def test_trap_the_learning_rate_falls_at_the_milestone_and_not_an_epoch_later():
    """The authors set it after an epoch of the old one; here the first step after 100 finished epochs has the new."""
    lr_at = build_schedule(Train(epochs=200, lr=0.1, schedule="multistep", milestones_epochs=[100, 150]))
    assert [lr_at(epochs) for epochs in (99.9, 100, 150)] == pytest.approx([0.1, 0.01, 0.001])


def test_alpha_out_of_range_is_refused():
    with pytest.raises(ValueError, match="alpha is 0"):
        Mixup(alpha=0)
