"""Dynamic Loss differentiates the networks forward and twice backward: neither may depend on in-place tricks."""

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch.func import functional_call

from lilawbench.models.cnn import CNN, PlainCNN
from lilawbench.models.image import timm_model
from lilawbench.models.lstm import LSTM
from lilawbench.models.mlp import MLP
from lilawbench.models.preact_resnet import PreActResNet
from lilawbench.models.resnet_cifar import ResNetCIFAR

NETS = {
    "mlp": (MLP, (1, 4, 4), {"hidden": (8, 6)}),
    "cnn": (CNN, (1, 8, 8), {"channels": (3, 4, 4), "dense": 6}),
    "plain_cnn": (PlainCNN, (1, 22, 22), {"channels": (3, 4, 4), "dense": 6}),
    "lstm": (LSTM, (7, 2), {"hidden": 4}),  # in float32 on a CPU only with torch.backends.mkldnn off
    "resnet": (ResNetCIFAR, (2, 10, 10), {"depth": 8}),
    "preact": (PreActResNet, (2, 8, 8), {"blocks": (1, 1, 1, 1)}),
    "timm": (timm_model, (1, 16, 16), {"options": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}}),
}


@pytest.fixture(params=NETS)
def net(request):
    """(loss of the parameters, parameters, a direction), float64, BatchNorm in train mode.

    The loss is the sum of w * logits + logits^2 / 2: neither linear nor flat in the logits.
    """
    torch.manual_seed(0)
    build, shape, options = NETS[request.param]
    model = build(num_classes=3, input_shape=shape, **options).double().train()
    x, w = torch.randn(4, *shape, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    params = {name: p.detach().clone() for name, p in model.named_parameters()}
    direction = {name: torch.randn_like(p) * p.abs().mean() for name, p in params.items()}

    def loss(params):
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        logits = functional_call(model, {**params, **buffers}, (x,))
        return (w * logits + logits.square() / 2).sum()

    return loss, params, direction


def dot(one, other):
    return sum((a * b).sum() for a, b in zip(one, other, strict=True))


def gradient(loss, params, **options):
    params = {name: p.clone().requires_grad_() for name, p in params.items()}
    return params, torch.autograd.grad(loss(params), list(params.values()), **options)


@pytest.mark.every(3)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own, at its first dual
def test_forward_mode_is_the_gradient_along_the_direction(net):
    loss, params, direction = net
    with torch.no_grad(), forward_ad.dual_level():
        along = forward_ad.unpack_dual(
            loss({name: forward_ad.make_dual(p, direction[name]) for name, p in params.items()})
        ).tangent
    _, backward = gradient(loss, params)
    torch.testing.assert_close(along, dot(backward, direction.values()), rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_double_backward_is_the_slope_of_the_gradient(net):
    """d<grad, direction>/d params along the direction, against a central difference of <grad, direction>."""
    loss, params, direction = net
    leaves, first = gradient(loss, params, create_graph=True)
    second = torch.autograd.grad(dot(first, direction.values()), list(leaves.values()))

    def slope(step):
        moved = {name: p + step * direction[name] for name, p in params.items()}
        return dot(gradient(loss, moved)[1], direction.values())

    step = 1e-6
    expected = (slope(step) - slope(-step)) / (2 * step)
    torch.testing.assert_close(dot(second, direction.values()), expected, rtol=1e-5, atol=1e-5)
