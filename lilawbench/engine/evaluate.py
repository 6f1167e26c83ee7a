"""Predictions over a whole split."""

import torch
from torch import Tensor

from lilawbench.loading.rows import Rows
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.methods.contract import check_predicted
from lilawbench.models.features import entering, last_dense


def predict(ctx: Context, method: Method, data: Rows) -> Tensor:
    """Logits [N, K] of a split in eval mode, in order; networks and random stream stay as they were."""
    logits = torch.zeros(len(data), ctx.num_classes, device=data.device)
    with ctx.side_pass("eval"):
        for batch in data.in_order(world=ctx.world):
            found = method.predict(ctx, batch.input)
            check_predicted(ctx, method, batch, found)
            logits.index_copy_(0, batch.index, found)
    return ctx.world.sum_(logits)


def predict_and_features(ctx: Context, method: Method, data: Rows) -> tuple[Tensor, Tensor | None]:
    """As `predict`, and the features of the rows, [N, D]: what enters the first network's last layer.

    None: that layer is not dense, or takes more than one vector of a row.
    """
    if (last := last_dense(ctx.model)) is None:
        return predict(ctx, method, data), None
    logits = torch.zeros(len(data), ctx.num_classes, device=data.device)
    features: Tensor | None = None
    with entering(last) as entered, ctx.side_pass("eval"):
        for batch in data.in_order(world=ctx.world):
            entered.clear()
            logits.index_copy_(0, batch.index, method.predict(ctx, batch.input))
            if len(entered) != 1 or entered[0].shape != (len(batch.index), last.in_features):
                return predict(ctx, method, data), None
            if features is None:
                features = torch.zeros(len(data), last.in_features, device=data.device)
            features.index_copy_(0, batch.index, entered[0].float())
    if ctx.world.size > 1:  # a rank without a row has no features of its own
        features = torch.zeros(len(data), last.in_features, device=data.device) if features is None else features
        features = ctx.world.sum_(features)
    return ctx.world.sum_(logits), features
