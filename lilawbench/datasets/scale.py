"""Standardised columns of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def standardised(train: np.ndarray, *others: np.ndarray) -> tuple[Tensor, ...]:
    """Tables [N, D] as float32 with the mean and standard deviation of the training rows: 0 and 1 there.

    A column that is constant in training is 0 there.
    """
    import torch

    train = np.asarray(train, dtype=np.float64)
    mean, std = train.mean(axis=0), train.std(axis=0)
    std[std == 0] = 1
    return tuple(torch.from_numpy(((table - mean) / std).astype(np.float32)) for table in (train, *others))
