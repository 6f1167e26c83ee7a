"""A table of a dozen rows, and a run on it."""

import pytest
import torch
from torch import nn

from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident


@pytest.fixture
def short_passes(monkeypatch):
    """A dozen rows are passed over in three batches."""
    monkeypatch.setattr("lilawbench.loading.rows.CPU_EVAL_BATCH", 5)


@pytest.fixture(scope="session")
def dozen():
    """Twelve rows of four numbers in float64, of three classes."""
    random = torch.Generator().manual_seed(0)
    input = torch.randn(12, 4, dtype=torch.float64, generator=random)
    return Resident(input, torch.randint(0, 3, (12,), generator=random))


@pytest.fixture
def scene(context, dozen, short_passes):
    """scene(method) -> (ctx, method) of a linear network on the dozen, or of another network on other rows."""

    def make(method, model=None, rows=dozen):
        if model is None:
            torch.manual_seed(0)
            model = nn.Linear(4, 3, dtype=torch.float64)
        ctx = context(model.train(), rows=rows)
        method.setup(ctx)
        return ctx, method

    return make


@pytest.fixture(scope="session")
def train():
    """train(ctx, method, 1, 2, ...): these epochs as the loop does them, without its bookkeeping."""

    def epochs(ctx, method, *numbers, lr=0.5, batch_size=4):
        for ctx.epoch in numbers:
            method.on_epoch_start(ctx)
            order = torch.randperm(ctx.num_train, generator=torch.Generator().manual_seed(ctx.epoch))
            for index in order.split(batch_size):
                ctx.batch_size = len(index)
                train_step(ctx, method, ctx.fetch(index), lr)
            method.on_epoch_end(ctx)

    return epochs


@pytest.fixture(scope="session")
def weights_of():
    """weights_of(ctx) -> all of its network's as one vector."""
    return lambda ctx: torch.cat([p.detach().flatten() for p in ctx.model.parameters()])
