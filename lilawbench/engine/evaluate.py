"""Predictions over a whole split."""

import torch
from torch import Tensor

from lilawbench.data.loaders import Resident
from lilawbench.methods.base import Context


def predict(ctx: Context, data: Resident) -> Tensor:
    """Logits [N, K] of a split in eval mode, in order; neither the model nor the random stream moves."""
    with ctx.side_pass("eval"):
        return torch.cat([ctx.forward(batch.input) for batch in data.in_order()])
