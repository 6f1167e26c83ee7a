"""Where the toy methods are found, and how small their runs are."""

import sys
from pathlib import Path

import pytest

from lilawbench.support import searchpath


@pytest.fixture
def toy(composed, monkeypatch):
    """toy("Peers", ...) -> config of a short run of a toy method."""
    monkeypatch.setattr(searchpath, "_used", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    searchpath.use([Path(__file__).parent])

    def make(name: str, *overrides: str):
        return composed(
            "method=ce", f"method._target_=toy_methods.{name}", f"method.name={name.lower()}", "model.hidden=[16]",
            "split.train_samples=192", "train.batch_size=32", "train.epochs=3", *overrides,
        )  # fmt: skip

    return make
