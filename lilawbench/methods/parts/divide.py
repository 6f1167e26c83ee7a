"""Rows divided into labelled and unlabelled ones: by a mixture over their losses, and the steps on both parts."""

from collections.abc import Iterator
from itertools import chain, islice

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch, joined
from lilawbench.loading.batches import Batches
from lilawbench.methods.context import Context
from lilawbench.metrics.mixture import high_loss
from lilawbench.support import host

TWO_VIEWS = ("weak", "weak")


def scaled(losses: Tensor) -> Tensor:
    """Losses [..., N] less their smallest, divided by their range: in [0, 1]; all 0 where they are the same."""
    low, high = losses.aminmax(dim=-1, keepdim=True)
    return (losses - low) / (high - low).clamp(min=torch.finfo(losses.dtype).tiny)


def right_probability(losses: Tensor) -> Tensor:
    """w of each row: the posterior of the component of smaller losses in a mixture of two Gaussians.

    Args:
        losses: [n, N], of n networks; a mixture each.
    Returns:
        w, [n, N] float32 on the host, where the mixture is fitted.
    Source: Li et al. 2020 (DivideMix), section 3.1. Deviations: see metrics/mixture.py.
    """
    return torch.stack([1 - high_loss(one) for one in host.bring(losses, "losses to divide")]).float()


def too_few(labelled: Tensor) -> str:
    """Why rows cannot be trained on as labelled and unlabelled ones; "": they can.

    Args:
        labelled: mask [N] on the host.
    """
    count = int(labelled.sum())
    if count >= 2 and len(labelled) - count >= 2:
        return ""
    return f"{count} labelled and {len(labelled) - count} unlabelled rows, of each of which there must be two"


def half_and_half(ctx: Context, labelled: Tensor, sizes: tuple[int, int], steps: int | None = None) -> Batches:
    """Steps on a labelled and an unlabelled batch, joined, in two views; whichever part ends first begins anew.

    Args:
        labelled: mask [N] on the host; at least two rows in it, and two that are not.
        sizes: rows of the two batches of a step.
        steps: None: as many as one pass over the labelled rows has.
    """
    first = ctx.training_batches(labelled, sizes[0], TWO_VIEWS)
    steps = len(first) if steps is None else steps
    pairs = zip(chain(first, _endless(ctx, labelled, sizes[0])), _endless(ctx, ~labelled, sizes[1]))
    return Batches(steps, (joined(pair) for pair in islice(pairs, steps)))


def _endless(ctx: Context, rows: Tensor, size: int) -> Iterator[Batch]:
    while True:
        yield from ctx.training_batches(rows, size, TWO_VIEWS)
