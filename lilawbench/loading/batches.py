"""The order in which rows train: shuffled batches of an epoch, and endless validation batches."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from lilawbench.augment.transforms import Augment
from lilawbench.augment.views import view_names
from lilawbench.loading.batch import Batch, joined
from lilawbench.loading.rows import Rows
from lilawbench.support import host
from lilawbench.support.distributed import World
from lilawbench.support.seeding import derive_torch


class Batches:
    """The batches of an epoch, and their number, which the learning-rate schedule needs.

    Args:
        steps: their number. batches: iterated over once.
    """

    def __init__(self, steps: int, batches: Iterable[Batch]):
        self.steps, self.batches = steps, batches

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def paired(first: Batches, *others: Batches) -> Batches:
    """Steps on one batch of each at a time (`Batch.pieces` takes them apart), as many as all of them have."""
    together = (first, *others)
    return Batches(min(map(len, together)), (joined(batches) for batches in zip(*together)))


class TrainLoader:
    """Shuffled batches of augmented views; order and views depend on (seed, epoch) alone.

    A last batch of one sample joins the one before it: BatchNorm cannot train on a single row.

    Args:
        augment: of the weak view. strong: of the strong one; None: as weak.
        balanced_samples: rows of an epoch, redrawn for each: the same number of every observed class, or all that the
            class has. None: all rows.
        world: this rank needs only its own share of each batch; None: the whole batch.
    """

    def __init__(
        self,
        data: Rows,
        batch_size: int,
        seed: int,
        augment: Augment | None = None,
        balanced_samples: int | None = None,
        world: World | None = None,
        strong: Augment | None = None,
    ):
        self.data, self.batch_size, self.seed, self.world = data, batch_size, seed, world
        weak = augment or Augment()
        self.views = {"plain": Augment(), "weak": weak, "strong": strong or weak}
        self.balance: tuple[Tensor, int] | None = None  # labels [N] on the host, and rows of each class
        if balanced_samples is not None:
            target = host.bring(data.target, "labels to balance")
            self.balance = target, max(1, balanced_samples // len(target.unique()))

    def __len__(self) -> int:
        """Steps in an epoch over all rows."""
        return len(_sizes(self.num_rows, self.batch_size))

    @property
    def num_rows(self) -> int:
        """Rows of an epoch that leaves none out but for balance."""
        if self.balance is None:
            return len(self.data)
        target, per_class = self.balance
        return int(target.bincount().clamp(max=per_class).sum())

    def rows(
        self, epoch: int, mask: Tensor | None = None, batch_size: int | None = None, again: int = 0
    ) -> tuple[Tensor, ...]:
        """Row numbers of each batch of an epoch, on the data's `rows_device`.

        Args:
            mask: [N] bool on the host, the rows that take part (None: all); they keep the order they have among all.
            batch_size: None: the loader's. again: passes over these rows before this one in the same epoch.
        """
        order = torch.randperm(len(self.data), generator=self._generator("order", epoch, again))
        if mask is not None:
            order = order[mask[order]]
        if self.balance is not None:
            target, per_class = self.balance
            order = order[first_of_each(target[order], per_class)]
        return host.send(order, self.data.rows_device).split(_sizes(len(order), batch_size or self.batch_size))

    def epoch(
        self,
        epoch: int,
        mask: Tensor | None = None,
        batch_size: int | None = None,
        views: Sequence[str] = ("weak",),
        again: int = 0,
    ) -> Batches:
        """The batches of an epoch. Arguments as `rows`; views: see augment/views.py."""
        parts = self.rows(epoch, mask, batch_size, again)
        names = view_names(views)
        draws = [
            self._generator("augment", epoch, again, *([name] if place else [])) for place, name in enumerate(names)
        ]
        seen = [self._seen(view, parts, draw) for view, draw in zip(views, draws)]
        return Batches(len(parts), self._batches(names, seen))

    def _batches(self, names: list[str], seen: list[Iterator[tuple[Tensor, Tensor]]]) -> Iterator[Batch]:
        for views in zip(*seen):
            (rows, input), further = views[0], views[1:]
            named = {name: view for name, (_, view) in zip(names[1:], further)}
            yield Batch(rows, input, self.data.target.index_select(0, rows), named)

    def _seen(self, view: str, parts: Iterable[Tensor], generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        augment = self.views[view]
        for rows, raw in self.data.pixels(parts, augment.crop_px, generator, self.world):
            yield rows, self.data.normalise(augment(raw, generator))

    def _generator(self, purpose: str, epoch: int, again: int, *more: str) -> torch.Generator:
        return derive_torch(self.seed, purpose, epoch, *([again] if again else []), *more)


def _sizes(count: int, batch_size: int) -> list[int]:
    sizes = [batch_size] * (count // batch_size)
    rest = count - sum(sizes)
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def first_of_each(target: Tensor, count: int) -> Tensor:
    """Mask [N] of the first `count` rows of each class in target [N] int64; all rows of a smaller class."""
    order = target.argsort(stable=True)
    counts = target.bincount()
    within = torch.arange(len(target), device=target.device) - (counts.cumsum(0) - counts)[target[order]]
    return torch.zeros_like(target, dtype=torch.bool).index_copy_(0, order, within < count)


class MetaLoader:
    """Endless random batches of the validation set: pieces of one permutation after another.

    `start(epoch)` restarts the stream from (seed, epoch). A batch never holds a row twice.
    """

    def __init__(self, data: Rows, seed: int):
        self.data, self.seed = data, seed
        self.start(0)

    def start(self, epoch: int) -> None:
        self.generator = derive_torch(self.seed, "meta", epoch)
        self.order, self.position = torch.empty(0, dtype=torch.int64), 0
        self.pieces: list[Tensor] = []  # what is left of the permutation, in pieces of one size, the next one last
        self.size = 0

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
