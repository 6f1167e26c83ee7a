"""A tiny run around a model, as the loop would set it up."""

import pytest
import torch

from lilawbench.methods.base import Context


@pytest.fixture
def context():
    """context(model, meta=None) -> Context on the CPU whose forward is the model."""

    def make(model, meta=None):
        return Context(
            model=model,
            forward=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            sweep=lambda: iter(()),
            meta=meta,
            num_train=12,
            num_classes=3,
            device=torch.device("cpu"),
            full_batch_size=6,
        )

    return make
