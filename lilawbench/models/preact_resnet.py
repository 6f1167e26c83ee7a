"""The pre-activation residual networks of He et al. for 32 px, at full width: PreAct ResNet-18 and 34."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)  # channels of the four stages


class PreActResNet(nn.Sequential):
    """A 3x3 convolution, four stages of pre-activation blocks, mean over the image, a linear layer.

    All stages but the first start with stride 2: 32 px run at 32, 16, 8 and 4.

    Args:
        num_classes: outputs K. input_shape: [C, H, W].
        blocks: of the four stages, each >= 1; [2, 2, 2, 2] is PreAct ResNet-18, [3, 4, 6, 3] is 34.
    Raises:
        ValueError: the input is not an image, or no such number of blocks.
    Source: He et al. 2016b, with ResNet-18's stages. Deviations: no BatchNorm and ReLU behind the last block, as in
        the network of 11,171,146 parameters that is commonly trained on CIFAR-10; torch's initial weights.
    """

    def __init__(self, num_classes: int, input_shape: Sequence[int], blocks: Sequence[int] = (2, 2, 2, 2)):
        if len(input_shape) != 3:
            raise ValueError(f"the preact resnet needs images [C, H, W], not {list(input_shape)}")
        if len(blocks) != len(WIDTHS) or any(count < 1 for count in blocks):
            raise ValueError(f"blocks is {list(blocks)}; it must be four numbers >= 1, such as [2, 2, 2, 2]")
        layers: list[nn.Module] = [nn.Conv2d(input_shape[0], WIDTHS[0], 3, padding=1, bias=False)]
        inputs = WIDTHS[0]
        for width, count in zip(WIDTHS, blocks, strict=True):
            for number in range(count):
                layers.append(PreActBlock(inputs, width, stride=2 if number == 0 and width != WIDTHS[0] else 1))
                inputs = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))


class PreActBlock(nn.Module):
    """a = relu(BN(x)); conv(relu(BN(conv(a)))) + shortcut: x, or a 1x1 convolution of a where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        active = F.relu(self.bn1(input))
        shortcut = input if self.shortcut is None else self.shortcut(active)
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut
