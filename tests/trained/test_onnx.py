"""The network as an ONNX file gives the logits of the network, for any number of rows."""

import numpy as np
import pytest
import torch

import lilawbench
from lilawbench.predict import main
from lilawbench.support.errors import DataError
from lilawbench.trained import onnx


@pytest.mark.slow
def test_another_program_gives_the_same_logits(table_run, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    root, record = table_run
    assert main([str(record.folder), "--export", str(tmp_path / "network.onnx")]) == 0
    network, preprocess = lilawbench.load_model(record.folder)
    input = preprocess(root / "test.csv")
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    for rows in (1, 30):
        (found,) = session.run(None, {"input": input[:rows].numpy()})
        np.testing.assert_allclose(found, network(input[:rows]).detach(), rtol=1e-5, atol=1e-6)


def test_without_its_packages(table_run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "NEEDED", ("onnx", "no_such_package"))
    network, preprocess = torch.nn.Linear(1, 1), None
    with pytest.raises(DataError, match=r"no_such_package: pip install lilawbench\[onnx\]"):
        onnx.export(network, preprocess, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []
