"""The residual networks for small images of He et al.: ResNet-20, 32, 44, 56, 110."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64)  # channels of the three stages


class ResNetCIFAR(nn.Sequential):
    """A 3x3 convolution, three stages of n basic blocks with 16, 32, 64 channels, mean over the image, a linear layer.

    The second and third stage start with stride 2. Shortcuts have no parameters (option A). Made for 32 px; any size
    works, 28 px runs at 28, 14 and 7.

    Args:
        num_classes: outputs K. input_shape: [C, H, W].
        depth: 6n + 2 layers with weights, n >= 1.
    Raises:
        ValueError: the input is not an image, or no such depth.
    Source: He et al. 2016a, section 4.2, with the initialisation of He et al. 2015 (normal, fan-in) for convolutions.
    """

    def __init__(self, num_classes: int, input_shape: Sequence[int], depth: int = 32):
        if len(input_shape) != 3:
            raise ValueError(f"the resnet needs images [C, H, W], not {list(input_shape)}")
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth is {depth}; it must be 6n + 2 with n >= 1, such as 20, 32, 44, 56 or 110")
        layers = [_convolution(input_shape[0], WIDTHS[0]), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()]
        inputs = WIDTHS[0]
        for width in WIDTHS:
            for _ in range(blocks):
                layers.append(BasicBlock(inputs, width))
                inputs = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


class BasicBlock(nn.Module):
    """relu(BN(conv(relu(BN(conv(x))))) + shortcut(x)); more channels out than in come with stride 2."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.new_channels = outputs - inputs
        self.conv1, self.bn1 = _convolution(inputs, outputs, 2 if self.new_channels else 1), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _convolution(outputs, outputs), nn.BatchNorm2d(outputs)

    def forward(self, input: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(input)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(input))

    def shortcut(self, input: Tensor) -> Tensor:
        """The identity, or every other pixel with the new channels 0 (option A)."""
        if not self.new_channels:
            return input
        return F.pad(input[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new_channels))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
