"""Dynamic Loss on ninety rows of classes of three sizes."""

import pytest
import torch
from torch import nn

from lilawbench.engine.context import make_context
from lilawbench.engine.loop import train_step
from lilawbench.loading.resident import Resident
from lilawbench.methods.dynamic_loss import DynamicLoss
from lilawbench.schema import Train


class Run:
    """A method on 90 rows of three classes (45, 30, 15), as the loop would run it."""

    def __init__(self, method, model=None, shape=(4,), epoch=10, **options):
        random = torch.Generator().manual_seed(0)
        target = torch.tensor([0] * 45 + [1] * 30 + [2] * 15)[torch.randperm(90, generator=random)]
        input = torch.randn(90, *shape, generator=random) + target.view(-1, *[1] * len(shape))
        self.data, self.method = Resident(input, target), method
        torch.manual_seed(1)
        self.model = model() if model else net()
        given = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 5e-4, "batch_size": 16} | options
        self.ctx = make_context([self.model], self.data, num_classes=3, options=Train(**given))
        self.ctx.epoch = epoch
        method.setup(self.ctx)

    def start(self):
        self.method.on_epoch_start(self.ctx)
        self.model.train()
        return iter(self.method.batches(self.ctx))

    def loss(self, batch):
        self.ctx.batch_size = len(batch.index)
        return self.method.loss(self.ctx, batch)

    def step(self, batch, lr=0.1):
        self.ctx.batch_size = len(batch.index)
        return train_step(self.ctx, self.method, batch, lr)

    def train(self, epochs=1):
        for _ in range(epochs):
            torch.manual_seed(self.ctx.epoch)
            for batch in self.start():
                self.step(batch)
            self.method.on_epoch_end(self.ctx)
            self.ctx.epoch += 1
        return self


def net(dropout=0.3):
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


@pytest.fixture(scope="session")
def begin():
    """begin(method, ...) -> Run."""
    return Run


@pytest.fixture(scope="session")
def small():
    """small(**options) -> the method, of few bins."""
    return lambda **options: DynamicLoss(**{"num_bins": 5, **options})


@pytest.fixture(scope="session")
def weights():
    """weights(module) -> all of them as one vector."""
    return lambda module: torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.fixture
def float64():
    """Everything in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def asked(monkeypatch):
    """Rows that were fetched, those of each call."""
    rows, fetched = [], Resident.batch
    monkeypatch.setattr(Resident, "batch", lambda self, wanted: rows.append(wanted) or fetched(self, wanted))
    return rows
