"""A finished run of a method of two networks, asked about new rows."""

import numpy as np
import pytest

import lilawbench
from lilawbench.config import build
from lilawbench.support.errors import DataError
from lilawbench.support.locate import locate
from lilawbench.train import run
from lilawbench.trained.predicting import predict


def test_two_networks_predict_by_the_mean_of_their_logits(toy, tmp_path, composing, monkeypatch):
    folder = run(toy("Peers", "train.epochs=1")).folder
    images = build(composing("dataset=digits").dataset).load(None).test_input
    np.savez(tmp_path / "new.npz", images=images[:, 0].numpy())
    with np.load(folder / "predictions.npz") as kept:
        recorded = kept["last.test"]
    np.testing.assert_allclose(predict(folder, tmp_path / "new.npz", "last").logits, recorded, rtol=1e-6, atol=1e-6)
    network, _ = lilawbench.load_model(folder, "last")
    first, second = (one.state_dict()["1.weight"] for one in network.networks)
    assert (first != second).any()

    monkeypatch.setattr(locate("toy_methods.Peers"), "predict", lambda *_: None)  # a method's own way
    with pytest.raises(DataError, match="method=peers predicts in a way of its own"):
        predict(folder, tmp_path / "new.npz", "last")
