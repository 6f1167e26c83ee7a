"""What an attack does to the predictions for a split."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.loading.resident import Resident
from lilawbench.losses import bce, ce, squared
from lilawbench.methods.base import Context
from lilawbench.methods.fgsm import fgsm


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
