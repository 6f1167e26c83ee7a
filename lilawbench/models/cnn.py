"""A small convolutional network for grey and colour images of 8 to 64 pixels."""

from collections.abc import Sequence

from torch import nn


class CNN(nn.Sequential):
    """Three 3x3 convolutions with BatchNorm, two poolings, one dense layer: the smallest net worth training on MNIST.

    Args:
        num_classes: outputs K. input_shape: [C, H, W], H and W >= 4.
        channels: of the three convolutions. dense: width of the hidden dense layer.
    Raises:
        ValueError: the input is not an image of at least 4x4.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int],
        channels: Sequence[int] = (32, 64, 64),
        dense: int = 100,
    ):
        if len(input_shape) != 3 or min(input_shape[1:]) < 4:
            raise ValueError(f"the cnn wants images [C, H, W] of at least 4x4 pixels, not {list(input_shape)}")
        if len(channels) != 3:
            raise ValueError(f"channels is {list(channels)}; the cnn has three convolutions")
        depth, height, width = input_shape
        first, second, third = channels
        super().__init__(
            *_convolution(depth, first),
            nn.MaxPool2d(2),
            *_convolution(first, second),
            nn.MaxPool2d(2),
            *_convolution(second, third),
            nn.Flatten(),
            nn.Linear(third * (height // 4) * (width // 4), dense),
            nn.ReLU(),
            nn.Linear(dense, num_classes),
        )


def _convolution(depth: int, channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(depth, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
