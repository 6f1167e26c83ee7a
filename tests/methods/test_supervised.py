"""Plain training: the mean of a per-sample loss and nothing else."""

from functools import partial

import pytest
import torch
from torch import nn

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce, focal
from lilawbench.methods.supervised import Supervised

BATCH = Batch(torch.arange(5), torch.linspace(-2, 2, 20).view(5, 4).sin(), torch.tensor([0, 1, 2, 1, 0]))


@pytest.mark.parametrize("loss", [ce, focal, partial(focal, gamma=0.5)], ids=["ce", "focal", "focal 0.5"])
def test_loss_is_the_mean_and_reaches_the_model(context, loss):
    model = nn.Linear(4, 3)
    out = Supervised(loss).loss(context(model), BATCH)
    expected = loss(model(BATCH.input), BATCH.target).sum() / 5
    torch.testing.assert_close(out.loss, expected)
    (grad,) = torch.autograd.grad(out.loss, model.weight)
    (expected_grad,) = torch.autograd.grad(expected, model.weight)
    torch.testing.assert_close(grad, expected_grad)
    assert grad.abs().max() > 0
    torch.testing.assert_close(out.logits, model(BATCH.input).detach())
    assert not out.logits.requires_grad and out.weight is None


def test_default_is_cross_entropy(context):
    model = nn.Linear(4, 3)
    expected = nn.functional.cross_entropy(model(BATCH.input), BATCH.target)
    torch.testing.assert_close(Supervised().loss(context(model), BATCH).loss, expected)


def test_it_has_no_state_and_needs_no_validation_set(context):
    method, ctx = Supervised(), context(nn.Linear(4, 3))
    assert not method.state_dict() and not method.uses_meta and method.trace() is None
    before = [p.clone() for p in ctx.model.parameters()]
    method.setup(ctx), method.on_epoch_start(ctx)
    method.after_step(ctx, BATCH, method.loss(ctx, BATCH)), method.on_epoch_end(ctx)
    assert all(torch.equal(a, b) for a, b in zip(before, ctx.model.parameters(), strict=True))
