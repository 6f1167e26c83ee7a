"""Work is counted in forward passes of a row; a backward counts when it comes to pass, and as often."""

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import fit
from lilawbench.methods.base import Method, StepOutput
from lilawbench.methods.parts.averaged import Averaged
from lilawbench.methods.parts.lookahead import hypergradient
from lilawbench.methods.supervised import Supervised


@pytest.fixture
def ctx(context):
    torch.manual_seed(0)
    return context(nn.Linear(1, 3), nn.Linear(1, 3))


def test_a_backward_counts_when_it_happens(ctx):
    """Six rows forward are 6, each backward through them is 12 more; a gradient at the logits reaches no network."""
    logits = ctx.forward(torch.ones(6, 1))
    assert ctx.passes.total == 6
    loss = logits.square().sum()
    torch.autograd.grad(loss, logits, retain_graph=True)
    assert ctx.passes.total == 6
    loss.backward(retain_graph=True)
    assert ctx.passes.total == 6 + 12
    loss.backward()
    assert ctx.passes.total == 6 + 24


def test_side_passes_and_teachers_are_forwards(ctx):
    teacher = Averaged(0.9)
    teacher.setup(ctx)
    with ctx.side_pass():
        ctx.forward(torch.ones(4, 1), 1)
        teacher(ctx, torch.ones(2, 1))
    assert ctx.passes.total == 4 + 2


def test_a_look_ahead_by_hand(ctx):
    """Forward 6 and its backward 12; of the meta loss 2 and 4; the pass in forward mode, 6 and 12."""
    network, trust = ctx.functional(), torch.ones(6, requires_grad=True)
    meta = torch.ones(2, 1)
    (found,) = hypergradient(
        network,
        ctx.optimizer,
        torch.ones(6, 1),
        lambda logits: (trust * logits.square().sum(1)).mean(),
        lambda weights: network(weights, meta).square().sum(),
        [trust],
    )
    assert found.abs().sum() > 0
    assert ctx.passes.total == (6 + 12) + (2 + 4) + (6 + 12)


class Peers(Method):
    """Two networks, and what the second says of all rows before each epoch."""

    networks = 2

    def __init__(self):
        super().__init__(nn.functional.cross_entropy)

    def on_epoch_start(self, ctx):
        with ctx.side_pass():
            for batch in ctx.in_order():
                ctx.forward(batch.input, 1)

    def loss(self, ctx, batch):
        both = [ctx.forward(batch.input, number) for number in (0, 1)]
        return StepOutput(sum(self.per_sample(z, batch.target) for z in both), both[0].detach())


def costs(ctx, method, epochs=2):
    method.setup(ctx)
    return [epoch.cost for epoch in fit(ctx, method, lambda done: 0.1, epochs=epochs)]


def test_plain_training_costs_one_and_two_networks_two(context, ctx):
    plain = context(nn.Linear(1, 3), batch_size=5, accumulate_steps=2)
    assert costs(plain, Supervised()) == [1.0, 1.0]
    assert costs(ctx, Peers()) == pytest.approx([2 + 1 / 3] * 2)


def test_what_setup_did_is_the_first_epochs(context):
    class Prepared(Supervised):
        def setup(self, ctx):
            super().setup(ctx)
            with ctx.side_pass():
                ctx.forward(torch.ones(36, 1))

    assert costs(context(nn.Linear(1, 3)), Prepared()) == [2.0, 1.0]
