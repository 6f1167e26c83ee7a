"""What the README shows for one's own loop, run as it stands there."""

import re
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

README = Path(__file__).parents[1] / "README.md"


def block(word: str) -> str:
    """The one python block with that word in it."""
    (found,) = [
        text for text in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S) if word in text
    ]
    return found


def scene():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    batches = [(torch.randn(16, 4), torch.randint(0, 3, (16,))) for _ in range(4)]
    return model, batches, torch.optim.SGD(model.parameters(), lr=0.1)


def test_lilaw_learns_from_validation_rows_and_the_network_does_not():
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


def test_rrm_and_the_hypergradient():
    model, batches, optimizer = scene()
    x, y = batches[0]
    names = {
        "model": model,
        "F": F,
        "x": x,
        "y": y,
        "N": 16,
        "u": torch.zeros(16, dtype=torch.float64),
        "index": torch.arange(16),
    }
    names["losses"] = F.cross_entropy(model(x), y, reduction="none").detach()
    exec(block("import reweight"), names)
    assert names["u"].sum().abs() < 1e-12 and names["u"].min() < 0 and names["loss"].requires_grad
    names |= {"torch": torch, "K": 3, "optimizer": optimizer, "meta_x": batches[1][0], "meta_y": batches[1][1]}
    exec(block("import Network, hypergradient"), names)
    assert names["trust"].grad.shape == (3,) and names["trust"].grad.abs().sum() > 0
