"""Small convolutional networks for grey and colour images of 8 to 64 pixels."""

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
            raise ValueError(f"the cnn needs images [C, H, W] of at least 4x4 pixels, not {list(input_shape)}")
        if len(channels) != 3:
            raise ValueError(f"channels is {list(channels)}; the cnn has three convolutions")
        depth, height, width = input_shape
        _check_widths(channels, dense)
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


class PlainCNN(nn.Sequential):
    """3x3 convolutions without padding, each with ReLU and 2x2 max-pooling, then one dense layer; no BatchNorm.

    RRM's network for MNIST: sides of 28, 13, 5 and 1 pixels.

    Args:
        num_classes: outputs K.
        input_shape: [C, H, W]. A convolution takes a side s to (s - 2) // 2, so that three of them need H, W >= 22.
        channels: of the convolutions, one or more. dense: width of the hidden dense layer.
    Raises:
        ValueError: the input is not an image, or too small.
    Source: RRM, section 4.2.2 (padding as Keras has it by default). Deviations: torch's initial weights.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int],
        channels: Sequence[int] = (32, 64, 64),
        dense: int = 100,
    ):
        _check_widths(channels, dense)
        least = 3 * 2 ** len(channels) - 2
        if len(input_shape) != 3 or min(input_shape[1:]) < least:
            raise ValueError(
                f"the plain cnn needs images [C, H, W] of at least {least}x{least} pixels for its {len(channels)} "
                f"convolutions, not {list(input_shape)}"
            )
        layers: list[nn.Module] = []
        depth, height, width = input_shape
        for outputs in channels:
            layers += [nn.Conv2d(depth, outputs, 3), nn.ReLU(), nn.MaxPool2d(2)]
            depth, height, width = outputs, (height - 2) // 2, (width - 2) // 2
        super().__init__(
            *layers,
            nn.Flatten(),
            nn.Linear(depth * height * width, dense),
            nn.ReLU(),
            nn.Linear(dense, num_classes),
        )


def _check_widths(channels: Sequence[int], dense: int) -> None:
    if not channels or min(*channels, dense) < 1:
        raise ValueError(f"channels is {list(channels)} and dense is {dense}; every width must be >= 1")


def _convolution(depth: int, channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(depth, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
