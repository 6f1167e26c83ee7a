"""What a training step sees."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from lilawbench.support.distributed import World


class Batch(NamedTuple):
    """Some rows of the training table. There is no clean label in it, by design."""

    # row in the training table, [B] int64; stable across epochs and ranks
    index: Tensor  # type: ignore[assignment]  # hides the method that every tuple has
    input: Tensor  # [B, ...] float32: image [C, H, W], sequence [T, C], table row [D]; text: int64 [L]; the first view
    target: Tensor  # the OBSERVED label: [B] int64; [B, K] int64 of 0 and 1; [B] float32 (see tasks.py)
    views: Mapping[str, Tensor] = MappingProxyType({})  # the further views of the same rows, by name
    sizes: tuple[int, ...] = ()  # rows of each batch that it was `joined` from

    def tensors(self) -> list[Tensor]:
        """All tensors in it."""
        return [self.index, self.input, self.target, *self.views.values()]

    def each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """This batch with `change` applied to each tensor."""
        views = {name: change(view) for name, view in self.views.items()}
        return Batch(change(self.index), change(self.input), change(self.target), views, self.sizes)

    def pieces(self) -> list["Batch"]:
        """The batches that it was joined from; else itself, in a list."""
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

        A loss that averages over each piece equals that of one process if all ranks have as many rows of each piece.
        """
        if not self.sizes or world.size == 1:
            return world.fraction(len(self.index))
        return sum(world.fraction(size) * size for size in self.sizes) / len(self.index)

    def split(self, parts: int) -> list["Batch"]:
        """`parts` batches of equal size, give or take one row; of a joined batch, each piece is split so."""
        pieces = [[piece.each(_part(parts, number)) for piece in self.pieces()] for number in range(parts)]
        return [joined(piece) for piece in pieces]


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of the rows of several, in this order; `pieces` takes it apart again."""
    if len(batches) == 1:
        return batches[0]
    index, input, target = (torch.cat(tensors) for tensors in zip(*((b.index, b.input, b.target) for b in batches)))
    views = {name: torch.cat([batch.views[name] for batch in batches]) for name in batches[0].views}
    return Batch(index, input, target, views, tuple(len(batch.index) for batch in batches))


def _cut(start: int, size: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[start : start + size]


def _part(parts: int, number: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.tensor_split(parts)[number]
