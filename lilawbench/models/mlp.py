"""Multi-layer perceptron."""

from collections.abc import Sequence

from torch import nn


class MLP(nn.Sequential):
    """Fully connected ReLU layers on the flattened input: for table rows, small images and sequences.

    Args:
        num_classes: outputs K. input_shape: shape of one sample.
        hidden: widths of the hidden layers; two of them make the "3-layer MLP" of the papers.
        dropout: probability after each hidden layer, in [0, 1).
        bias: False leaves the biases out.
    Raises:
        ValueError: no positive width, dropout outside [0, 1).
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int],
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
        bias: bool = True,
    ):
        if any(width < 1 for width in hidden):
            raise ValueError(f"hidden is {list(hidden)}; every width must be >= 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it must lie in [0, 1)")
        layers: list[nn.Module] = [nn.Flatten()]
        width = 1
        for side in input_shape:
            width *= side
        for next_width in hidden:
            layers += [nn.Linear(width, next_width, bias=bias), nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = next_width
        super().__init__(*layers, nn.Linear(width, num_classes, bias=bias))
