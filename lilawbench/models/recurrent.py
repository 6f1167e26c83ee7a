"""A gradient through recurrent layers in eval mode, which cudnn lacks."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def recurrent_layers(model: nn.Module) -> list[nn.RNNBase]:
    """The recurrent layers of a network."""
    return [module for module in model.modules() if isinstance(module, nn.RNNBase)]


def backward_in_eval(layers: Sequence[nn.RNNBase], device: torch.device) -> AbstractContextManager:
    """A context for a forward whose gradient is needed: torch's own kernels replace cudnn's, which have no backward for
    layers in eval mode. Without such layers, or off CUDA, nothing changes.
    """
    if device.type == "cuda" and any(not layer.training for layer in layers):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()
