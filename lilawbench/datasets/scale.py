"""Standardised columns of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scale:
    """Takes a mean from each column and divides by a standard deviation, both [D] float64."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fitted(cls, table: np.ndarray) -> Scale:
        """Of the rows [N, D]; a column that is constant there becomes 0."""
        table = np.asarray(table, dtype=np.float64)
        mean, std = table.mean(axis=0), table.std(axis=0)
        std[std == 0] = 1
        return cls(mean, std)

    def __call__(self, table: np.ndarray) -> Tensor:
        """Of values [..., D], the same as float32."""
        import torch

        return torch.from_numpy(((table - self.mean) / self.std).astype(np.float32))
