"""A timm network with a dense layer before its outputs."""

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from torch import nn

from lilawbench.models.image import timm_model
from lilawbench.support.plain import Tree


class Headed(Protocol):
    """What timm's networks have."""

    head_hidden_size: int  # numbers that enter the outputs

    def reset_classifier(self, num_classes: int) -> None: ...


def with_dense(
    num_classes: int,
    input_shape: Sequence[int],
    dense: int = 512,
    architecture: str = "resnet50",
    pretrained: bool = False,
    checkpoint: str | None = None,
    rename: str | None = None,
    options: Mapping[str, Tree] | None = None,
) -> nn.Sequential:
    """A network's pooled features, a dense layer with ReLU, and the outputs.

    A linear probe trains the two dense layers: of ResNet-50's 2,048 features with two classes 1,050,114 parameters.

    Args:
        dense: width of the layer, >= 1. The others: see `timm_model`.
    Raises:
        ValueError: as `timm_model`; dense out of range.
    Source: RRM, appendix E.3 (ResNet-50 frozen, dense 512).
    """
    if dense < 1:
        raise ValueError(f"dense is {dense}; it must be >= 1")
    network = timm_model(num_classes, input_shape, architecture, pretrained, checkpoint, rename, options)
    headed = cast(Headed, network)
    headed.reset_classifier(0)
    return nn.Sequential(network, nn.Linear(headed.head_hidden_size, dense), nn.ReLU(), nn.Linear(dense, num_classes))
