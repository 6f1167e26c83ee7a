"""A cosine head: its logits, where it is put, and that a run with LDAM has one, trained and loaded."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lilawbench
from lilawbench.losses import LDAM, ce
from lilawbench.models.cnn import CNN
from lilawbench.models.cosine import CosineHead, fit_head
from lilawbench.models.finetune import finetune
from lilawbench.models.lstm import LSTM
from lilawbench.models.mlp import MLP
from lilawbench.models.resnet_cifar import ResNetCIFAR
from lilawbench.train import run


def test_logits_are_scaled_cosines_whatever_the_lengths():
    dense = nn.Linear(5, 3).double()
    head, features = CosineHead(dense, 30.0), torch.randn(7, 5, dtype=torch.float64)
    expected = 30 * F.cosine_similarity(features[:, None], dense.weight[None], dim=2)
    torch.testing.assert_close(head(features), expected)
    torch.testing.assert_close(head(9 * features), expected)
    dense.weight.data *= 7
    torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize("build", [MLP, CNN, LSTM, ResNetCIFAR])
def test_it_takes_the_place_of_the_last_layer(build):
    model = build(num_classes=4, input_shape=(1, 8, 8))
    count = len(list(model.parameters()))
    model = fit_head(model, LDAM(scale=3.0))
    with torch.no_grad():
        logits = model(torch.randn(6, 1, 8, 8))
    assert logits.shape == (6, 4) and logits.abs().max() <= 3 + 1e-5
    assert [module.scale for module in model.modules() if isinstance(module, CosineHead)] == [3.0]
    assert len(list(model.parameters())) == count - 1  # no bias
    finetune(model, "linear_probe")
    assert next(m for m in model.modules() if isinstance(m, CosineHead)).weight.requires_grad


def test_other_losses_leave_the_network_alone():
    model = MLP(4, (3,))
    assert isinstance(fit_head(model, ce)[-1], nn.Linear)


def test_a_network_without_a_dense_head_is_refused():
    with pytest.raises(ValueError, match="its last layer is a Conv2d; a loss of margins between cosines needs a dense"):
        fit_head(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), LDAM())


@pytest.mark.slow
def test_trap_a_run_with_ldam_has_the_head_and_its_record_too(tiny):
    """The authors' code without use_norm trains on plain logits, which does not work; here none can."""
    record = run(tiny("loss=ldam", "dataset.imbalance=10", "train.epochs=2", "keep.weights=true"))
    network, _ = lilawbench.load_model(record.folder, "last")
    assert isinstance(network[-1], CosineHead) and network[-1].scale == 30
