"""Tables of a dozen rows, passed over as large ones are."""

import pytest


@pytest.fixture(autouse=True)
def passes_of_several_batches(monkeypatch):
    monkeypatch.setattr("lilawbench.loading.resident.CPU_EVAL_BATCH", 5)
