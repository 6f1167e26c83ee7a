"""The python blocks of the READMEs, run as they stand there; those of the folder `mine` are test_adding.py's."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lilawbench

# a word of each block; a detector of one's own is run in probes/detectors/test_all.py
KNOWN = ("LiLAW()", "import reweight", "import Network, hypergradient", "lilawbench.load", "Sharpness")


@pytest.fixture(scope="module")
def block(readmes):
    """block(word) -> the one python block with that word in it."""
    texts = [block.text for blocks, _ in readmes.values() for block in blocks if block.language == "python"]

    def find(word: str) -> str:
        (found,) = [text for text in texts if word in text]
        return found

    rest = [text for text in texts if not text.startswith("# mine/")]
    assert sorted(rest) == sorted(find(word) for word in KNOWN), "a block that no test runs"
    return find


def scene():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    batches = [(torch.randn(16, 4), torch.randint(0, 3, (16,))) for _ in range(4)]
    return model, batches, torch.optim.SGD(model.parameters(), lr=0.1)


def test_lilaw_learns_from_validation_rows_and_the_network_does_not(block):
    """BatchNorm has seen the training batches alone, and dropout drew one mask for each."""
    streams = []
    for plain in (False, True):
        model, batches, optimizer = scene()
        if plain:
            for x, _ in batches:
                model(x)
        else:
            names = {"model": model, "train_batches": batches, "optimizer": optimizer, "torch": torch}
            names |= {"val_x": torch.ones(16, 4), "val_y": batches[0][1]}
            exec(block("LiLAW()"), names)
            assert names["lilaw"].alpha < 10 and names["lilaw"].beta > 2
        assert model.training and model[1].num_batches_tracked == len(batches)
        streams.append(torch.get_rng_state())
    assert torch.equal(*streams)


def test_rrm_and_the_hypergradient(block):
    model, batches, optimizer = scene()
    x, y = batches[0]
    names = {"model": model, "F": F, "x": x, "y": y, "N": 16, "index": torch.arange(16)}
    names["u"] = torch.zeros(16, dtype=torch.float64)
    names["losses"] = F.cross_entropy(model(x), y, reduction="none").detach()
    exec(block("import reweight"), names)
    assert names["u"].sum().abs() < 1e-12 and names["u"].min() < 0 and names["loss"].requires_grad
    names |= {"torch": torch, "K": 3, "optimizer": optimizer, "meta_x": batches[1][0], "meta_y": batches[1][1]}
    exec(block("import Network, hypergradient"), names)
    assert names["trust"].grad.shape == (3,) and names["trust"].grad.abs().sum() > 0


def test_a_run_from_python(block, tmp_path, monkeypatch):
    """With a shorter run in the place of thirty epochs."""
    monkeypatch.chdir(tmp_path)
    composed = lilawbench.compose("method=lilaw", "seed=3", "debug=fast", "train.threads=1", "train.epochs=1")
    monkeypatch.setattr(lilawbench, "compose", lambda *given: composed, raising=False)
    names = {}
    exec(block("lilawbench.load"), names)
    assert names["record"].status == "done" and Path("outputs").resolve() in names["record"].folder.resolve().parents
    assert names["runs"]["config.method.name"].tolist() == ["lilaw"]
