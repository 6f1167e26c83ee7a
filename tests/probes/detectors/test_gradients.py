"""GraNd and TracIn beside autograd, row by row."""

import pytest
import torch
from torch import nn

from lilawbench.engine.gradients import gradient_norms
from lilawbench.loading.resident import Resident
from lilawbench.probes.detectors import DETECTORS
from lilawbench.probes.detectors.base import Look, Plain
from lilawbench.probes.detectors.grand import last_layer_norms

LABELS = torch.tensor([0, 1, 2, 1, 0])


def norms(loss, parameters) -> torch.Tensor:
    """Norm of each row's gradient, by autograd."""
    found = [torch.autograd.grad(each, parameters, retain_graph=True) for each in loss]
    return torch.stack([torch.cat([g.flatten() for g in one]).norm() for one in found])


@pytest.mark.parametrize("bias", [True, False])
def test_the_last_layers_gradient_is_exact(bias):
    torch.manual_seed(0)
    layer, features = nn.Linear(4, 3, bias=bias).double(), torch.randn(5, 4, dtype=torch.float64)
    logits = layer(features)
    loss = nn.functional.cross_entropy(logits, LABELS, reduction="none")
    expected = norms(loss, list(layer.parameters()))
    found = last_layer_norms(Plain(logits.detach(), features, bias), LABELS)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_two_rows_by_hand():
    """p = (3/4, 1/4), h = (2, 2). Label 0: |(-1/4, 1/4)| sqrt(8 + 1) = 3 sqrt(2) / 4; label 1: three times that.

    TracIn after two such epochs of learning rates .5 and .1: .6 times the squares, 9/8 and 81/8.
    """
    plain = Plain(torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log(), torch.full((2, 2), 2.0))
    looks = [
        Look(t, torch.zeros(2, 2), torch.tensor([0, 1]), torch.zeros(2) > 0, lr, in_order=lambda: plain)
        for t, lr in ((1, 0.5), (2, 0.1))
    ]
    found = {}
    for name in ("grand", "tracin"):
        detector = DETECTORS[name]()
        detector.setup(2, 2)
        assert name == "tracin" or detector.scores().isnan().all()
        for look in looks:
            detector.see(look)
        found[name] = detector.scores()
    once = 3 * 2**0.5 / 4
    torch.testing.assert_close(found["grand"], torch.tensor([once, 3 * once], dtype=torch.float64))
    torch.testing.assert_close(found["tracin"], torch.tensor([0.6 * 9 / 8, 0.6 * 81 / 8], dtype=torch.float64))


def test_a_network_without_a_dense_last_layer_has_no_scores():
    look = Look(1, torch.zeros(5, 3), LABELS, LABELS >= 0, 0.1, in_order=lambda: Plain(torch.zeros(5, 3), None))
    for name in ("grand", "tracin", "simifeat"):
        detector = DETECTORS[name]()
        detector.setup(5, 3)
        detector.see(look)
        assert detector.scores().isnan().all()


class Level(nn.Module):
    """A recurrent network over three steps of one number."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(1, 2, batch_first=True), nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.lstm(x[..., None])[0][:, -1])


@pytest.mark.parametrize("recurrent", [pytest.param(False, marks=pytest.mark.slow), True])  # vmap's import is slow
def test_gradients_by_all_weights_that_train(context, recurrent):
    """With BatchNorm and dropout in eval mode, a frozen layer, and rows that share a batch."""
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3))
    network = (Level() if recurrent else dense).double()
    next(network.parameters()).requires_grad_(False)
    rows = Resident(torch.randn(5, 3, dtype=torch.float64), LABELS)
    ctx = context(network, rows=rows)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = gradient_norms(ctx, rows)
    assert network.training and all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.eval()
    loss = nn.functional.cross_entropy(network(rows.input), LABELS, reduction="none")
    expected = norms(loss, [p for p in network.parameters() if p.requires_grad])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
