"""The toy methods of tests/toys train on one device, and wait for it where the contract does, and nowhere else."""

import sys
from pathlib import Path

import pytest

from lilawbench.support import searchpath
from lilawbench.train import run

TOYS = ("Peers", "WeakStrong", "Divided", "Teacher", "PerSample", "Ensemble")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("Divided", "Teacher"))) for name in TOYS]
)
def test_a_toy_on_one_device(away, small, monkeypatch, name):
    monkeypatch.setattr(searchpath, "_used", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    searchpath.use([Path(__file__).parents[1] / "toys"])
    record = run(small("multiclass", "method=ce", f"method._target_=toy_methods.{name}"))
    assert record.status == "done"
    assert {why for in_step, why in away.reads if in_step} == set()
    assert ("rows that train" in {why for _, why in away.reads}) == (name == "Divided")
