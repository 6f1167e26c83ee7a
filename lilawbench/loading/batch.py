"""What a training step sees."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Some rows of the training table. There is no clean label in it, by design."""

    index: Tensor  # [B] int64, row in the training table; stable across epochs
    input: Tensor  # [B, ...] float32: image [C, H, W], sequence [T, C] or table row [D]
    target: Tensor  # the OBSERVED label: [B] int64; [B, K] int64 of 0 and 1; [B] float32 (see tasks.py)
