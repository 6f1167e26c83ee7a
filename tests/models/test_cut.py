"""The two parts of a probed network are the whole."""

import pytest
import torch
from torch import nn

from lilawbench.config import build as build_node
from lilawbench.models.cut import Cut, cut, fits
from lilawbench.models.finetune import finetune

NETS = {  # overrides, shape, features of one sample
    "mlp": ((4,), ["model.hidden=[8,7,6]", "model.dropout=0.5"], (7,)),
    "cnn": ((1, 8, 8), ["model.channels=[3,4,5]", "model.dense=6"], (20,)),
    "resnet32": ((2, 12, 12), ["model.depth=14"], (64, 3, 3)),
    "preact_resnet18": ((1, 8, 8), ["model.blocks=[1,1,1,2]"], (512, 1, 1)),
    "resnet18": ((1, 64, 64), ["+model.options={layers:[1,1,1,2],channels:[8,8,8,16]}"], (16, 2, 2)),
    "vit_s16": ((1, 32, 32), ["+model.options={depth:2,embed_dim:12,num_heads:2}"], (1, 12)),  # the class token
}


@pytest.fixture(params=NETS)
def probe(request, composed):
    shape, overrides, width = NETS[request.param]
    torch.manual_seed(0)
    model = build_node(composed(f"model={request.param}", *overrides).model, num_classes=3, input_shape=shape)
    x = torch.randn(5, *shape)
    for _ in range(2):
        model.train()(x)  # BatchNorm statistics other than the initial ones
    return finetune(model, "linear_probe"), x, width


@pytest.mark.every(3)
def test_logits_of_features_are_the_logits(probe):
    model, x, width = probe
    parts = cut(model)
    expected = model.eval()(x)
    features = parts.features(x)
    assert features.shape == (5, *width)
    torch.testing.assert_close(parts.logits(features), expected, rtol=1e-6, atol=1e-6)
    model.forward = parts.logits
    torch.testing.assert_close(model(parts.features(x)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.every(3)
def test_gradients_through_the_cut_are_the_gradients(probe):
    """In train mode, dropout before the head included."""
    model, x, _ = probe
    parts, trained = cut(model), [p for p in model.train().parameters() if p.requires_grad]

    def gradients(forward):
        torch.manual_seed(1)
        return torch.autograd.grad(forward(x).square().sum(), trained)

    for one, other in zip(gradients(model), gradients(lambda x: parts.logits(parts.features(x)))):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.every(3)
def test_fits_tells_a_wrong_cut(probe):
    model, x, _ = probe
    parts = cut(model)
    modes = [m.training for m in model.modules()]
    assert fits(model, parts, x)
    assert not fits(model, Cut(parts.features, lambda features: parts.logits(features) + 1e-3), x)
    assert not fits(model, Cut(lambda input: input, parts.logits), x)
    assert [m.training for m in model.modules()] == modes


def test_what_cannot_be_cut(composed):
    lstm = build_node(composed("model=lstm").model, num_classes=3, input_shape=(7, 2))
    assert cut(finetune(lstm, "linear_probe")) is None
    nested = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)), nn.Linear(4, 2))
    assert cut(finetune(nested, "linear_probe")) is None
