"""Scalars from tensors on the device."""

import torch
from torch import Tensor


def mean_where(values: Tensor, there: Tensor) -> Tensor:
    """Mean of values [K] over the columns in `there` [K] bool; NaN of none."""
    return torch.where(there, values, 0).sum() / there.sum()


def read(measures: dict[str, Tensor]) -> dict[str, float]:
    """The values of scalars, all fetched from the device at once."""
    return dict(zip(measures, torch.stack([value.double() for value in measures.values()]).tolist(), strict=True))
