"""The three shapes every data set, loader and method shares: Source, Dataset and Batch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor


class Batch(NamedTuple):
    """What a training step sees. There is no clean label in it, by design."""

    index: Tensor  # [B] int64, row in the training table; stable across epochs
    input: Tensor  # [B, ...] float32: image [C, H, W], sequence [T, C] or table row [D]
    target: Tensor  # [B] int64, the OBSERVED label


@dataclass(frozen=True)
class Source:
    """A data set as read from disk: inputs and clean labels of the official splits.

    Images are uint8 [N, C, H, W] and are normalised per batch with `mean` and `std` (per channel, on
    the 0..1 scale); sequences [N, T, C] and table rows [N, D] are float32 and already standardised.
    """

    train_input: Tensor
    train_clean: np.ndarray  # [N] int64 in 0..K-1
    test_input: Tensor
    test_clean: np.ndarray  # [M] int64
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    test_groups: dict[str, np.ndarray] = field(default_factory=dict)  # e.g. {"sex": [M] str}

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.train_input.shape[1:])

    @property
    def is_image(self) -> bool:
        return self.train_input.ndim == 4


class Dataset:
    """A named source of data. Building one is cheap and checks its options; `load` reads files."""

    num_classes: ClassVar[int]

    def load(self, data_dir: Path | None) -> Source:
        """Reads the data from `data_dir` if it is there, else from the cache, else downloads it.

        Raises:
            DataError: a file is missing, damaged or cannot be downloaded.
        """
        raise NotImplementedError
