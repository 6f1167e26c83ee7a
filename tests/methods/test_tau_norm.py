"""tau-normalisation: training is that of CE, and the classifier is the paper's."""

import math

import pytest
import torch
from torch import nn

from lilawbench.methods.supervised import Supervised
from lilawbench.methods.tau_norm import TauNorm
from lilawbench.support.errors import ConfigError


def predicted(scene, method):
    """Logits of the dozen rows, and the features and weights they are of."""
    ctx, method = scene(method)
    weight, bias = ctx.model.weight.detach(), ctx.model.bias.detach()
    return method.predict(ctx, ctx.table.input).detach(), ctx.table.input, weight, bias


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_weights_are_divided_by_their_length_and_the_bias_left_out(scene, tau):
    logits, features, weight, _ = predicted(scene, TauNorm(tau=tau))
    torch.testing.assert_close(logits, features @ (weight / weight.norm(dim=1, keepdim=True) ** tau).T)


def test_by_hand(context):
    """w = (3, 4), (0, 2) on h = (1, 1) and bias 9: z = 16, 11; tau 1 gives 7/5 and 2/2, tau 1/2 7/5^.5, 2/2^.5."""
    model = nn.Linear(2, 2)
    model.weight.data, model.bias.data = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([9.0, 9.0])
    ctx = context(model, num_classes=2)
    for tau, expected in ((1.0, [1.4, 1.0]), (0.5, [7 / math.sqrt(5), math.sqrt(2)])):
        assert TauNorm(tau=tau).predict(ctx, torch.ones(1, 2))[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_tau_0_is_the_classifier_as_it_is(scene):
    for bias in (True, False):
        logits, features, weight, shift = predicted(scene, TauNorm(tau=0.0, bias=bias))
        torch.testing.assert_close(logits, features @ weight.T + (shift if bias else 0))


def test_training_is_that_of_ce_to_the_bit(scene, train, weights_of):
    found = []
    for method in (Supervised(), TauNorm()):
        ctx, method = scene(method)
        train(ctx, method, 1, 2)
        found.append(weights_of(ctx))
    assert torch.equal(*found)


def test_a_head_that_is_not_dense_is_refused(scene, dozen):
    with pytest.raises(ConfigError, match="method=tau_norm divides the weights of a dense head .* is a BatchNorm1d"):
        scene(TauNorm(), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4, affine=True)))


def test_what_does_nothing_says_so():
    assert TauNorm(tau=0.0, bias=True).never_acts(3, 3) == ["never normalised: method.tau is 0"]
    assert TauNorm().never_acts(3, 3) == []
    with pytest.raises(ValueError, match="tau is -1; it must be >= 0"):
        TauNorm(tau=-1)
