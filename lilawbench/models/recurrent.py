"""A gradient through recurrent layers in eval mode, which cudnn lacks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


def recurrent_layers(model: nn.Module) -> list[nn.RNNBase]:
    """The recurrent layers of a network."""
    return [module for module in model.modules() if isinstance(module, nn.RNNBase)]


@contextmanager
def backward_in_eval(layers: Sequence[nn.RNNBase], device: torch.device) -> Iterator[None]:
    """A context for a forward whose gradient is needed: layers in eval mode are in training mode without dropout, which
    computes the same and of which cudnn has a backward. Off CUDA nothing changes.
    """
    kept = [(layer, layer.dropout) for layer in layers if device.type == "cuda" and not layer.training]
    for layer, _ in kept:
        layer.training, layer.dropout = True, 0.0
    try:
        yield
    finally:
        for layer, dropout in kept:
            layer.training, layer.dropout = False, dropout
