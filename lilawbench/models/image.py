"""Image networks from timm."""

import difflib
from collections.abc import Sequence

from torch import nn


def timm_model(num_classes: int, input_shape: Sequence[int], architecture: str = "resnet18") -> nn.Module:
    """Any timm architecture, from random weights, with its stem fitted to the number of channels.

    Args:
        num_classes: outputs K. input_shape: [C, H, W].
        architecture: timm's name.
    Raises:
        ValueError: the input is not an image, or timm knows no such architecture.
    """
    if len(input_shape) != 3:
        raise ValueError(f"{architecture} wants images [C, H, W], not {list(input_shape)}")
    import timm  # half a second that other models need not wait for

    if not timm.is_model(architecture):
        near = ", ".join(difflib.get_close_matches(architecture, timm.list_models(), n=6)) or "see timm.list_models()"
        raise ValueError(f"timm has no architecture {architecture!r}; near it: {near}")
    return timm.create_model(architecture, num_classes=num_classes, in_chans=input_shape[0])
