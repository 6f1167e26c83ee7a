"""What a training step sees."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from lilawbench.support.distributed import World


class Batch(NamedTuple):
    """Some rows of the training table. There is no clean label in it, by design."""

    index: Tensor  # [B] int64, row in the training table; stable across epochs and ranks
    input: Tensor  # [B, ...] float32: image [C, H, W], sequence [T, C] or table row [D]; the first of the views
    target: Tensor  # the OBSERVED label: [B] int64; [B, K] int64 of 0 and 1; [B] float32 (see tasks.py)
    views: Mapping[str, Tensor] = MappingProxyType({})  # the further views of the same rows, by name
    sizes: tuple[int, ...] = ()  # rows of each of the batches that it was `joined` from

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [self.index, self.input, self.target, *self.views.values()]

    def each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch whose tensors are what `change` makes of these."""
        views = {name: change(view) for name, view in self.views.items()}
        return Batch(change(self.index), change(self.input), change(self.target), views, self.sizes)

    def pieces(self) -> list["Batch"]:
        """The batches that it was joined from, or itself."""
        if not self.sizes:
            return [self]
        starts = [sum(self.sizes[:number]) for number in range(len(self.sizes))]
        return [self.each(_cut(start, size))._replace(sizes=()) for start, size in zip(starts, self.sizes)]

    def share(self, world: World) -> "Batch":
        """This rank's part of it; of a joined one, of each piece."""
        if world.size == 1:
            return self
        return joined([piece.each(world.share) for piece in self.pieces()])

    def fraction(self, world: World) -> float:
        """The weight of this rank's share in a mean over all rows.

        A loss that takes a mean over each piece is that of one process where all ranks have as many rows of each.
        """
        if not self.sizes or world.size == 1:
            return world.fraction(len(self.index))
        return sum(world.fraction(size) * size for size in self.sizes) / len(self.index)

    def split(self, parts: int) -> list["Batch"]:
        """So many parts of as many rows, give or take one; of a joined batch, of each piece."""
        pieces = [[piece.each(_part(parts, number)) for piece in self.pieces()] for number in range(parts)]
        return [joined(piece) for piece in pieces]


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of the rows of several, one after another: what a method takes apart again by `pieces`."""
    if len(batches) == 1:
        return batches[0]
    index, input, target = (torch.cat([batch[place] for batch in batches]) for place in range(3))
    views = {name: torch.cat([batch.views[name] for batch in batches]) for name in batches[0].views}
    return Batch(index, input, target, views, tuple(len(batch.index) for batch in batches))


def _cut(start: int, size: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[start : start + size]


def _part(parts: int, number: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.tensor_split(parts)[number]
