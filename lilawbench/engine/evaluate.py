"""Predictions over a whole split."""

import torch
from torch import Tensor

from lilawbench.loading.rows import Rows
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.methods.contract import check_predicted


def predict(ctx: Context, method: Method, data: Rows) -> Tensor:
    """Logits [N, K] of a split in eval mode, in order; networks and random stream stay as they were."""
    logits = torch.zeros(len(data), ctx.num_classes, device=data.device)
    with ctx.side_pass("eval"):
        for batch in data.in_order(world=ctx.world):
            found = method.predict(ctx, batch.input)
            check_predicted(ctx, method, batch, found)
            logits.index_copy_(0, batch.index, found)
    return ctx.world.sum_(logits)
