"""A small run after its epochs: what probes look at, made up by the test."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lilawbench.datasets.base import Source
from lilawbench.engine.loop import Epoch
from lilawbench.loading.resident import Resident
from lilawbench.methods.supervised import Supervised
from lilawbench.noise.labels import Labels
from lilawbench.probes.base import Scene


@pytest.fixture(scope="session")
def scene():
    """scene(method, clean) -> of six training rows with the labels 0 0 1 1 2 2, three to validate and three to test."""

    def make(method=None, clean=None):
        observed = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2])
        inputs, names = torch.arange(9.0)[:, None], ("a", "b", "c")
        source = Source(inputs, observed, torch.zeros(3, 1), np.arange(3), names)
        labels = Labels(observed, clean, np.arange(6), np.arange(6, 9))
        train, val = (Resident(inputs[rows], torch.from_numpy(observed[rows])) for rows in (labels.train, labels.val))
        test = Resident(torch.zeros(3, 1), torch.arange(3))
        return Scene(source, labels, train, val, test, method or Supervised(), seed=0, epochs=9)

    return make


@pytest.fixture(scope="session")
def epoch():
    """epoch(sample_values=..., logs=..., trace=...) -> an epoch over six rows that left these behind."""

    def make(**left):
        nothing = {"trace": {}, "logs": {}, "sample_values": {}, "cost": 1.0}
        rows = {"losses": torch.ones(2), "seen": torch.ones(6, dtype=torch.bool), "logits": torch.zeros(6, 3)}
        return Epoch(number=1, step=2, lr=0.1, weight=None, seconds=0.0, **rows, **nothing | left)

    return make


@pytest.fixture(scope="session")
def predicted():
    """predicted(accuracy=..., loss=...) -> predictions whose validation measures are these."""
    return lambda **measures: SimpleNamespace(val_measures=measures)
