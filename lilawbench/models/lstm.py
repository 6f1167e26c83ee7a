"""Stacked LSTM for sequences."""

from collections.abc import Sequence

from torch import Tensor, nn


class LSTM(nn.Module):
    """LSTM layers over time; the last hidden state is classified. LiLAW's ECG5000 model (A.23).

    An image [C, H, W] is read as a sequence of its H rows.

    Args:
        num_classes: outputs K. input_shape: [T, C], or [C, H, W].
        hidden: width of the state. layers: how many LSTM layers. dropout: between layers, in [0, 1).
    Raises:
        ValueError: the input is neither a sequence nor an image; a size out of range.
    """

    def __init__(
        self, num_classes: int, input_shape: Sequence[int], hidden: int = 64, layers: int = 2, dropout: float = 0.0
    ):
        super().__init__()
        if len(input_shape) not in (2, 3):
            raise ValueError(f"the lstm needs sequences [T, C] or images [C, H, W], not {list(input_shape)}")
        if hidden < 1 or layers < 1 or not 0 <= dropout < 1:
            raise ValueError(f"hidden {hidden} and layers {layers} must be >= 1, dropout {dropout} in [0, 1)")
        channels = input_shape[-1] if len(input_shape) == 2 else input_shape[0] * input_shape[2]
        self.recurrent = nn.LSTM(channels, hidden, layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim == 4:
            input = input.permute(0, 2, 1, 3).flatten(2)  # [B, C, H, W] -> [B, H, C * W]
        states, _ = self.recurrent(input)
        return self.head(states[:, -1])
