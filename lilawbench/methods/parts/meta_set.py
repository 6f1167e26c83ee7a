"""Which samples Dynamic Loss learns its meta nets from, and the loss bin of every sample.

All of it is built on one operation: the rank of a value within its class, by two stable sorts. The host never waits for
the device: class sizes come from a search in the sorted classes, not from bincount.
"""

import torch
from torch import Tensor

from lilawbench.support import host

SAMPLINGS = ("hierarchical", "lowest_loss", "random")


def ranks(values: Tensor, classes: Tensor) -> Tensor:
    """Rank of each value within its class, ascending from 0; ties in the order of the rows.

    Args:
        values: [N]; NaN comes last. classes: [N] int64 >= 0.
    Returns:
        [N] int64.
    """
    order = values.argsort(stable=True)
    order = order[classes[order].argsort(stable=True)]  # by class, then by value
    classes = classes[order]
    starts = torch.searchsorted(classes, classes)  # where the class of each begins
    out = torch.empty_like(order)
    out[order] = torch.arange(len(order), device=order.device) - starts
    return out


def loss_bins(losses: Tensor, classes: Tensor, bins: int) -> Tensor:
    """r = floor(rank / (n_class + 1) R), the loss bin of each sample within its class.

    Args:
        losses: [N]. classes: observed labels, [N] int64; all 0 for bins over all samples. bins: R >= 1.
    Returns:
        [N] int64 in 0..R-1, 0 the smallest losses.
    Source: Dynamic Loss, "Label Corrector".
    """
    return ranks(losses, classes) * bins // (class_sizes(classes) + 1)


def class_sizes(classes: Tensor) -> Tensor:
    """The size of each sample's class, [N] int64, from classes [N] int64."""
    ascending = classes.sort().values
    return torch.searchsorted(ascending, classes, right=True) - torch.searchsorted(ascending, classes)


def meta_rows(
    losses: Tensor,
    classes: Tensor,
    primary: int,
    count: int,
    generator: torch.Generator,
    sampling: str = "hierarchical",
) -> Tensor:
    """Mask of the meta set: `count` samples of each class, mostly with a correct label.

    Args:
        losses: [N]. classes: observed labels, [N] int64, each class with at least `primary` samples.
        primary, count: M0 and M1 in samples per class, count <= primary.
        generator: on the CPU.
        sampling: "hierarchical", the smallest losses of a random primary set of the class; "lowest_loss", the smallest
            of the whole class; "random".
    Returns:
        [N] bool.
    Source: Dynamic Loss, "Hierarchical Sampling Strategy"; Table 4 for the others.
    """
    places = ranks(host.send(torch.rand(len(losses), generator=generator), losses.device), classes)
    if sampling == "random":
        return places < count
    if sampling == "lowest_loss":
        return ranks(losses, classes) < count
    drawn = places < primary
    return drawn & (ranks(losses, classes.where(drawn, classes + classes.max() + 1)) < count)


class RowDraw:
    """Endless random batches of some rows: pieces of one permutation after another, no row twice in a batch."""

    def __init__(self, rows: Tensor, generator: torch.Generator):
        self.rows, self.generator = rows, generator
        self.order, self.position = rows[:0], 0

    def __call__(self, size: int) -> Tensor:
        """A fresh batch of min(size, len(rows)) rows, [B] int64."""
        size = min(size, len(self.rows))
        if self.position + size > len(self.order):
            order = torch.randperm(len(self.rows), generator=self.generator)
            self.order = self.rows[host.send(order, self.rows.device)]
            self.position = 0
        self.position += size
        return self.order[self.position - size : self.position]
