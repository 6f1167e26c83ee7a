"""The mode of recurrent layers where a gradient is wanted. cudnn's have no backward in eval mode.

No GPU is needed: the layer says, in each of its forwards, in which mode it is.
"""

import copy

import pytest
import torch
from torch.nn import functional as F

from lilawbench.config import bind, build
from lilawbench.engine.evaluate import predict
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.parts.lookahead import Network
from lilawbench.methods.supervised import Supervised
from lilawbench.models.lstm import LSTM
from lilawbench.models.mlp import MLP
from lilawbench.models.recurrent import backward_in_eval, recurrent_layers
from lilawbench.probes.attack import predict_attacked

DATA = Resident(torch.randn(8, 5, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3)
CUDA = torch.device("cuda")
DROPOUT = 0.25


@pytest.fixture
def seen():
    """(in training mode, a gradient is wanted, dropout) of each forward."""
    return []


@pytest.fixture
def ctx(seen, context):
    model = LSTM(3, (5, 2), hidden=4)
    model.recurrent.dropout = DROPOUT

    def look(module, input, output):
        seen.append((module.training, torch.is_grad_enabled(), module.dropout))

    model.recurrent.register_forward_hook(look)
    return context(model, rows=copy.copy(DATA))


def said_to_be_on_cuda(ctx):
    ctx.table.device = CUDA
    return ctx


@pytest.mark.parametrize("name", ["at", "a_rrm"])
def test_adversarial_training(ctx, seen, composed, name):
    """The attack's forward drops nothing, the step's own does."""
    cfg = composed(f"method={name}")
    method = build(cfg.method, loss=bind(cfg.loss))
    method.setup(ctx)  # its tables are on the CPU
    method.on_epoch_start(said_to_be_on_cuda(ctx))
    train_step(ctx, method, DATA.batch(torch.arange(8)), 0.1)
    assert seen == [(True, True, 0), (True, True, DROPOUT)]
    assert ctx.model.recurrent.training and ctx.model.recurrent.dropout == DROPOUT


def test_attacks_of_the_test_rows(ctx, seen):
    """The attack's forward is one of training, those of the attacked inputs are in eval mode."""
    said_to_be_on_cuda(ctx)
    predict_attacked(ctx, Supervised(), DATA, [0.1, 0.2])
    assert seen == [(True, True, 0), (False, False, DROPOUT), (False, False, DROPOUT)]
    seen.clear()
    predict(ctx, Supervised(), DATA)
    assert seen == [(False, False, DROPOUT)]


def test_a_probe_whose_recurrent_layers_stay_in_eval_mode(ctx, seen):
    ctx.model.recurrent.eval()
    with said_to_be_on_cuda(ctx).side_pass("eval", grad=True):
        ctx.forward(DATA.input)
    assert seen == [(True, True, 0)] and not ctx.model.recurrent.training


def test_look_ahead_and_others(ctx):
    layers = recurrent_layers(ctx.model)
    assert layers == [ctx.model.recurrent] == Network(ctx.model).recurrent and not recurrent_layers(MLP(3, (5,)))
    cases = [(CUDA, False, (True, 0)), (CUDA, True, (True, DROPOUT)), (torch.device("cpu"), False, (False, DROPOUT))]
    for device, training, expected in cases:
        layers[0].train(training)
        with backward_in_eval(layers, device):
            assert (layers[0].training, layers[0].dropout) == expected
        assert (layers[0].training, layers[0].dropout) == (training, DROPOUT)


def test_the_gradient_is_that_of_eval_mode(ctx):
    """Dropout aside, training mode computes the same."""
    layer = ctx.model.recurrent.eval()

    def gradient(device):
        input = DATA.input.clone().requires_grad_()
        with backward_in_eval([layer], device):
            layer(input)[0].square().sum().backward()
        return input.grad

    assert torch.equal(gradient(CUDA), gradient(torch.device("cpu")))


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
