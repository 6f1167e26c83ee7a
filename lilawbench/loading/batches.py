"""The order in which rows train: shuffled batches of an epoch, and validation batches without end."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lilawbench.augment.transforms import Augment
from lilawbench.loading.batch import Batch
from lilawbench.loading.resident import Resident
from lilawbench.support import host
from lilawbench.support.distributed import World
from lilawbench.support.seeding import derive_torch


class TrainLoader:
    """Shuffled, augmented batches; order and views depend on (seed, epoch) alone.

    A last batch of one sample joins the one before it: BatchNorm cannot train on a single row.

    Args:
        balanced_samples: rows of an epoch, drawn anew for each: of every observed class the same number, or all that it
            has. None: all rows.
        world: of the rank that uses its share of each batch alone; None: all of it.
    """

    def __init__(
        self,
        data: Resident,
        batch_size: int,
        seed: int,
        augment: Augment | None = None,
        balanced_samples: int | None = None,
        world: World | None = None,
    ):
        self.data, self.batch_size, self.seed, self.augment = data, batch_size, seed, augment or Augment()
        self.world = world
        self.target = host.bring(data.target, "labels to balance") if balanced_samples else None
        classes = len(self.target.unique()) if balanced_samples else 1
        self.per_class = None if balanced_samples is None else max(1, balanced_samples // classes)

    def __len__(self) -> int:
        """Steps in an epoch over all rows."""
        return self.steps()

    def rows(self, epoch: int, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Row numbers of each batch of an epoch, where the data want them.

        Args:
            mask: [N] bool on the host, the rows that take part (None: all); they keep the order they have among all.
        """
        order = torch.randperm(len(self.data), generator=derive_torch(self.seed, "order", epoch))
        if mask is not None:
            order = order[mask[order]]
        if self.per_class is not None:
            order = order[first_of_each(self.target[order], self.per_class)]
        return host.send(order, self.data.rows_device).split(self._sizes(len(order)))

    def steps(self, mask: Tensor | None = None) -> int:
        """Steps in an epoch over the rows of a mask."""
        if self.per_class is None:
            return len(self._sizes(len(self.data) if mask is None else int(mask.sum())))
        target = self.target if mask is None else self.target[mask]
        return len(self._sizes(int(target.bincount().clamp(max=self.per_class).sum())))

    def _sizes(self, count: int) -> list[int]:
        sizes = [self.batch_size] * (count // self.batch_size)
        rest = count - sum(sizes)
        if rest == 1 and sizes:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return sizes

    def epoch(self, epoch: int, mask: Tensor | None = None) -> Iterator[Batch]:
        views = derive_torch(self.seed, "augment", epoch)
        for rows, raw in self.data.pixels(self.rows(epoch, mask), self.augment.crop_px, views, self.world):
            yield Batch(rows, self.data.normalise(self.augment(raw, views)), self.data.target.index_select(0, rows))


def first_of_each(target: Tensor, count: int) -> Tensor:
    """Mask [N] of the first `count` rows of each class in target [N] int64, or all that it has."""
    order = target.argsort(stable=True)
    counts = target.bincount()
    within = torch.arange(len(target), device=target.device) - (counts.cumsum(0) - counts)[target[order]]
    return torch.zeros_like(target, dtype=torch.bool).index_copy_(0, order, within < count)


class MetaLoader:
    """Random batches of the validation set without end: pieces of one permutation after another.

    `start(epoch)` restarts the stream from (seed, epoch). A batch never holds a row twice.
    """

    def __init__(self, data: Resident, seed: int):
        self.data, self.seed = data, seed
        self.start(0)

    def start(self, epoch: int) -> None:
        self.generator = derive_torch(self.seed, "meta", epoch)
        self.order, self.position = torch.empty(0, dtype=torch.int64), 0
        self.pieces, self.size = [], 0  # what is left of the permutation in pieces of one size, the next one last

    def __call__(self, size: int) -> Batch:
        """A fresh batch of min(size, len(validation set)) rows."""
        size = min(size, len(self.data))
        if size != self.size or not self.pieces:
            if self.position + size > len(self.order):
                order = torch.randperm(len(self.data), generator=self.generator)
                self.order = host.send(order, self.data.rows_device)
                self.position = 0
            left = self.order[self.position :]
            self.pieces, self.size = list(left[: len(left) // size * size].split(size))[::-1], size
        self.position += size
        batch = self.data.batch(self.pieces.pop())
        if self.pieces:
            self.data.expect(self.pieces[-1])
        return batch
