"""Predictions over a whole split, on clean and on attacked inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lilawbench.attack import fgsm
from lilawbench.data.base import Batch
from lilawbench.data.loaders import Resident
from lilawbench.losses import bce, ce, squared
from lilawbench.methods.base import Context


def predict(ctx: Context, data: Resident) -> Tensor:
    """Logits [N, K] of a split in eval mode, in order; neither the model nor the random stream moves."""
    logits = torch.zeros(len(data), ctx.num_classes, device=data.device)
    with ctx.side_pass("eval"):
        for batch in data.in_order(world=ctx.world):
            logits.index_copy_(0, batch.index, ctx.forward(batch.input))
    return ctx.world.sum_(logits)


def predict_attacked(
    ctx: Context,
    data: Resident,
    eps: Sequence[float],
    sign: bool = True,
    clip: Sequence[float] | None = None,
    space: str = "input",
) -> Tensor:
    """Logits [E, N, K] after FGSM of each eps on the plain loss of the split's labels: cross-entropy, bce, squared.

    Args:
        eps, sign, clip: see `attack.fgsm`. space: "input" | "unit", of pixels in [0, 1].
    Source: RRM, Section 4.2.2.
    """
    logits = torch.zeros(len(eps), len(data), ctx.num_classes, device=data.device)

    plain = bce if data.target.ndim == 2 else squared if data.target.is_floating_point() else ce

    def attacked(batch: Batch) -> list[Tensor]:
        def losses(input: Tensor) -> Tensor:
            return plain(ctx.forward(input), batch.target)

        with ctx.side_pass("eval", grad=True):
            return fgsm(losses, batch.input, eps, sign, clip, ctx.pixels if space == "unit" else None)

    for batch in data.in_order(world=ctx.world):
        inputs = attacked(batch)
        with ctx.side_pass("eval"):
            for number, input in enumerate(inputs):
                logits[number].index_copy_(0, batch.index, ctx.forward(input))
    return ctx.world.sum_(logits)
