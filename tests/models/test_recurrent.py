"""Which kernels a recurrent network runs on where its gradient is wanted. cudnn's have no backward in eval mode.

No GPU is needed: the network says, in each of its forwards, whether cudnn is switched on.
"""

import copy

import pytest
import torch
from torch.nn import functional as F

from lilawbench.config import bind, build
from lilawbench.engine.evaluate import predict
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.lookahead import Network
from lilawbench.methods.supervised import Supervised
from lilawbench.models.lstm import LSTM
from lilawbench.models.mlp import MLP
from lilawbench.models.recurrent import backward_in_eval, recurrent_layers
from lilawbench.probes.attack import predict_attacked

DATA = Resident(torch.randn(8, 5, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3)
CUDA = torch.device("cuda")


@pytest.fixture
def seen():
    """(in training mode, a gradient is wanted, cudnn is on) of each forward."""
    return []


@pytest.fixture
def ctx(seen, context):
    model = LSTM(3, (5, 2), hidden=4)

    def look(module, input, output):
        seen.append((module.training, torch.is_grad_enabled(), torch.backends.cudnn.enabled))

    model.recurrent.register_forward_hook(look)
    return context(model, rows=copy.copy(DATA))


def said_to_be_on_cuda(ctx):
    ctx.table.device = CUDA
    return ctx


@pytest.mark.parametrize("name", ["at", "a_rrm"])
def test_adversarial_training(ctx, seen, composed, name):
    """The attack's forward without cudnn, the step's own with it."""
    cfg = composed(f"method={name}")
    method = build(cfg.method, loss=bind(cfg.loss))
    method.setup(ctx)  # its tables are on the CPU
    method.on_epoch_start(said_to_be_on_cuda(ctx))
    train_step(ctx, method, DATA.batch(torch.arange(8)), 0.1)
    assert seen == [(False, True, False), (True, True, True)]


def test_attacks_of_the_test_rows(ctx, seen):
    """The attack's forward without cudnn, those of the attacked inputs with it."""
    said_to_be_on_cuda(ctx)
    predict_attacked(ctx, Supervised(), DATA, [0.1, 0.2])
    assert seen == [(False, True, False), (False, False, True), (False, False, True)]
    seen.clear()
    predict(ctx, Supervised(), DATA)
    assert seen == [(False, False, True)]


def test_a_probe_whose_recurrent_layers_stay_in_eval_mode(ctx, seen):
    ctx.model.recurrent.eval()
    with said_to_be_on_cuda(ctx).side_pass("eval", grad=True):
        ctx.forward(DATA.input)
    assert seen == [(False, True, False)]


def test_look_ahead_and_others(ctx):
    layers = recurrent_layers(ctx.model)
    assert layers == [ctx.model.recurrent] == Network(ctx.model).recurrent and not recurrent_layers(MLP(3, (5,)))
    layers[0].eval()
    for given, device, on in [(layers, CUDA, False), (layers, torch.device("cpu"), True), ([], CUDA, True)]:
        with backward_in_eval(given, device):
            assert torch.backends.cudnn.enabled is on
    layers[0].train()
    with backward_in_eval(layers, CUDA):
        assert torch.backends.cudnn.enabled


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_in_eval_mode_on_cuda(context):
    model = LSTM(3, (5, 2), hidden=4).to(CUDA).eval()
    data = Resident(DATA.input, DATA.target, device=CUDA)
    ctx = context(model, rows=data)
    input = data.input.clone().requires_grad_()
    with ctx.side_pass("eval", grad=True):
        F.cross_entropy(ctx.forward(input), data.target).backward()
    assert input.grad.isfinite().all() and input.grad.abs().max() > 0
