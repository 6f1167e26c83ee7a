"""The features of a network: what enters its last layer."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from lilawbench.models.finetune import layers


def last_dense(model: nn.Module) -> nn.Linear | None:
    """The last layer of a network, if it is dense."""
    last = list(layers(model))[-1].module
    return last if isinstance(last, nn.Linear) else None


@contextmanager
def entering(layer: nn.Module) -> Iterator[list[Tensor]]:
    """A list of what enters a layer, one tensor with its graph for each forward within."""
    entered: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    try:
        yield entered
    finally:
        handle.remove()
