"""The convolutional networks of Co-teaching and its kin, for images of 28 or 32 pixels."""

from collections.abc import Sequence

from torch import nn


class NineLayerCNN(nn.Sequential):
    """Nine 3x3 convolutions with BatchNorm and leaky ReLU (.01) in three stages, the mean over pixels, a linear layer.

    The first two stages keep the side, and end in 2x2 max-pooling and dropout of whole channels; the third has no
    padding, so that each of its convolutions takes two pixels.

    Args:
        num_classes: outputs K. input_shape: [C, H, W], H and W >= 28.
        channels: of each stage's convolutions. dropout: in [0, 1).
    Raises:
        ValueError: the input is not an image, or too small; channels are not three stages; dropout out of range.
    Source: Han et al. 2018, Table 2. Deviations: their code goes on dropping channels in evaluation.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int],
        channels: Sequence[Sequence[int]] = ((128, 128, 128), (256, 256, 256), (512, 256, 128)),
        dropout: float = 0.25,
    ):
        _check_channels("co_cnn", channels)
        least = 4 * (2 * len(channels[2]) + 1)
        if len(input_shape) != 3 or min(input_shape[1:]) < least:
            raise ValueError(
                f"the co_cnn needs images [C, H, W] of at least {least}x{least} pixels, not {list(input_shape)}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it must lie in [0, 1)")
        depth = input_shape[0]
        layers: list[nn.Module] = []
        for number, stage in enumerate(channels):
            for outputs in stage:
                convolution = nn.Conv2d(depth, outputs, 3, padding=int(number < 2))
                layers += [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.01)]
                depth = outputs
            layers += [nn.MaxPool2d(2), nn.Dropout2d(dropout)] if number < 2 else [nn.AdaptiveAvgPool2d(1)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(depth, num_classes))


class SevenLayerCNN(nn.Sequential):
    """Three stages of two 3x3 convolutions with BatchNorm and ReLU, each ending in 2x2 max-pooling; a linear layer.

    Args:
        num_classes: outputs K. input_shape: [C, H, W], H and W >= 8.
        channels: of each stage's convolutions.
    Raises:
        ValueError: the input is not an image of at least 8x8, or channels are not three stages.
    Source: Wei et al. 2020 (JoCoR), Table 2; Yu et al. 2019 (Co-teaching+) on CIFAR-100. Deviations: none.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int],
        channels: Sequence[Sequence[int]] = ((64, 64), (128, 128), (196, 16)),
    ):
        _check_channels("jocor_cnn", channels)
        if len(input_shape) != 3 or min(input_shape[1:]) < 8:
            raise ValueError(f"the jocor_cnn needs images [C, H, W] of at least 8x8 pixels, not {list(input_shape)}")
        depth, height, width = input_shape
        layers: list[nn.Module] = []
        for stage in channels:
            for outputs in stage:
                layers += [nn.Conv2d(depth, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
                depth = outputs
            layers.append(nn.MaxPool2d(2))
        super().__init__(*layers, nn.Flatten(), nn.Linear(depth * (height // 8) * (width // 8), num_classes))


def _check_channels(name: str, channels: Sequence[Sequence[int]]) -> None:
    stages = [list(stage) if isinstance(stage, Sequence) else [] for stage in channels]
    if len(stages) != 3 or not all(stages) or min(map(min, stages)) < 1:
        raise ValueError(f"channels is {list(channels)}; the {name} has three stages of convolutions, every width >= 1")
