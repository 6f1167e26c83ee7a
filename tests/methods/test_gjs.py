"""method=gjs: its loss is of both views of each row, and what it was told is said."""

import functools

import pytest
import torch
from torch import nn

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce, gce, js
from lilawbench.losses.jensen_shannon import gjs
from lilawbench.methods.contract import sound
from lilawbench.methods.gjs import GJS


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_its_loss_is_the_divergence_of_label_and_two_views(scene, view):
    ctx, method = scene(GJS(pi=0.3, view=view))
    assert sound(method).views == (view, view)
    input = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.arange(5), input[0], torch.tensor([0, 1, 2, 0, 1]), {f"{view}2": input[1]})
    out = method.loss(ctx, batch)
    torch.testing.assert_close(out.loss, gjs([ctx.model(part) for part in input], batch.target, 0.3).mean())
    assert torch.equal(out.logits, ctx.model(input[0]).detach())


def test_two_views_that_are_alike_are_one(scene):
    """Table rows and images without train.augment: loss=js."""
    ctx, method = scene(GJS())
    batch = next(iter(ctx.loader.epoch(1, views=method.views)))
    assert torch.equal(batch.input, batch.views["weak2"])
    torch.testing.assert_close(method.loss(ctx, batch).loss, js(ctx.model(batch.input), batch.target).mean())


def test_batchnorm_sees_both_views_at_once(scene, dozen):
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    ctx, method = scene(GJS(), model)
    batch = Batch(torch.arange(12), dozen.input, dozen.target, {"weak2": dozen.input + 2})
    method.loss(ctx, batch)
    assert model[0].num_batches_tracked == 1
    torch.testing.assert_close(model[0].running_mean, 0.1 * (dozen.input.mean(0) + 1))


def test_a_weight_of_its_own_is_told():
    assert GJS().told() == [] and GJS(pi=0.9).told() == ["method.pi=0.9"]


@pytest.mark.parametrize(
    "wrong, message",
    [({"pi": 1}, r"pi is 1; it must lie in \(0, 1\)"), ({"view": "plain"}, "view is 'plain'; it must be weak or")],
)  # fmt: skip
def test_what_it_cannot_do_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GJS(**wrong)


def test_another_loss_is_refused():
    assert GJS(functools.partial(ce))
    with pytest.raises(ValueError, match="it has a loss of its own"):
        GJS(functools.partial(gce, q=0.5))
