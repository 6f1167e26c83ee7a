"""Epochs as a detector sees them, made up by the test."""

import pytest
import torch

from lilawbench.probes.detectors.base import Look


@pytest.fixture(scope="session")
def looks():
    """looks(logits [T, N, K], labels [N], seen [T, N]) -> T epochs; nested lists or tensors, in float64."""

    def make(logits, labels, seen=None, **given):
        logits = torch.as_tensor(logits, dtype=torch.float64)
        seen = torch.ones(logits.shape[:2]) if seen is None else torch.as_tensor(seen)
        labels = torch.as_tensor(labels)
        return [Look(t, z, labels, s.bool(), **given) for t, (z, s) in enumerate(zip(logits, seen), start=1)]

    return make


@pytest.fixture(scope="session")
def scored():
    """scored(detector, epochs) -> its scores after these epochs, as a list."""

    def score(detector, epochs):
        detector.setup(*epochs[0].logits.shape)
        for look in epochs:
            detector.see(look)
        return detector.scores()

    return score


@pytest.fixture(scope="session")
def drawn():
    """drawn(N, K, T) -> logits [T, N, K] and labels [N], random and always the same."""

    def draw(rows, classes, epochs):
        generator = torch.Generator().manual_seed(rows + classes)
        logits = 3 * torch.randn(epochs, rows, classes, generator=generator, dtype=torch.float64)
        return logits, torch.randint(classes, (rows,), generator=generator)

    return draw
