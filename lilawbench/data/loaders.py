"""Data that live on the device: a batch is one index_select, normalised and augmented there."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench import host
from lilawbench.data.base import Batch
from lilawbench.data.transforms import Augment, Windows
from lilawbench.distributed import World
from lilawbench.seeding import derive_torch

EVAL_BATCH = 512
CPU_EVAL_BATCH = 128  # whose activations stay in a core's cache: half the time of 512 in a small CNN


class Resident:
    """Rows of one split on the device.

    Args:
        input: [N, ...]; uint8 images are kept as they are and normalised per batch.
        target: observed labels (clean for the test set), as `Batch.target`.
        mean, std: per channel on the 0..1 scale, for uint8 images.
        resize_px: side of the square that images are scaled to, batch by batch; they are held as they are.
    """

    def __init__(
        self,
        input: Tensor,
        target: Tensor,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        device: torch.device | str = "cpu",
        resize_px: int | None = None,
    ):
        self.target = target.to(device)
        self.device = self.target.device
        self.mean, self.std, self.resize_px = mean, std, resize_px
        self.input = self._held(input)
        self.windows: Windows | None = None  # of `pixels`
        self.scaled = mean is not None and std is not None
        if self.scaled:  # (x / 255 - mean) / std as a multiplication and an addition
            mean_, std_ = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (mean, std))
            self.scale, self.shift = 1 / (255 * std_), -mean_ / std_

    def _held(self, input: Tensor) -> Tensor:
        return input.to(self.device)

    @property
    def rows_device(self) -> torch.device:
        """Where it wants the numbers of the rows that it is asked for."""
        return self.device

    def __len__(self) -> int:
        return len(self.target)

    def pixels(
        self,
        parts: Iterable[Tensor],
        crop_px: int = 0,
        generator: torch.Generator | None = None,
        world: World | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows [B] int64 on `rows_device` -> they and their inputs as stored, on the device, one part after another.

        Args:
            crop_px: shift of each image by up to so many pixels, drawn by `generator`, which is the host's; black
                beyond the border.
            world: of the rank that asks and that needs its share of each part alone; here it has all of them at hand.
        """
        if crop_px and (self.windows is None or self.windows.crop_px != crop_px):
            self.windows = Windows(self.input, crop_px)
        for rows in parts:
            yield rows, self.windows(rows, generator) if crop_px else self.input.index_select(0, rows)

    def normalise(self, raw: Tensor) -> Tensor:
        """Of a fresh batch, which may be overwritten: normalised, then scaled to `resize_px`, bilinear.

        Where that makes images smaller, each pixel is the mean of all that fall into it (antialias).
        """
        ready = raw.to(torch.float32).mul_(self.scale).add_(self.shift) if self.scaled else raw
        if self.resize_px is None:
            return ready
        return F.interpolate(ready, size=(self.resize_px,) * 2, mode="bilinear", antialias=True)

    def batch(self, rows: Tensor) -> Batch:
        """Rows [B] int64 on `rows_device` -> Batch on the device, un-augmented."""
        return next(self.batches([rows]))

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Batch]:
        """As `batch`, one part after another."""
        for rows, raw in self.pixels(parts):
            yield Batch(rows, self.normalise(raw), self.target.index_select(0, rows))

    def expect(self, rows: Tensor) -> None:
        """Says which rows `batch` is asked for next; here they are at hand anyway."""

    def normalised(self) -> "Resident":
        """This split normalised once, in four times the memory: what a meta step draws from at every step.

        Images that are scaled stay as they are: 49 times the memory for CIFAR at 224 px.
        """
        if not self.scaled or self.resize_px is not None:
            return self
        ready = torch.cat([self.normalise(part.clone()) for part in self.input.split(EVAL_BATCH)])
        return Resident(ready, self.target, device=self.device)

    def in_order(self, size: int | None = None, world: World | None = None) -> Iterator[Batch]:
        """All rows once, in order, un-augmented: the sweep, and every evaluation.

        Args:
            size: of a batch; None: what suits the device.
            world: gives only this rank's share of the rows, so that each row is in exactly one rank's.
        """
        size = size or (CPU_EVAL_BATCH if self.device.type == "cpu" else EVAL_BATCH)
        rows = torch.arange(len(self), device=self.rows_device)
        if world is not None:
            rows = rows.tensor_split(world.size)[world.rank]
        yield from self.batches(part for part in rows.split(size) if len(part))

    def augmented(self, augment: Augment, generator: torch.Generator) -> "Resident":
        """This split seen once through `augment`; the views are then fixed."""
        rows = torch.arange(len(self), device=self.device)
        seen = augment(Windows(self.input, augment.crop_px)(rows, generator), generator)
        return self._with(seen if seen.dtype == torch.uint8 else seen.round().to(torch.uint8))

    def _with(self, images: Tensor) -> "Resident":
        """These images in the place of this split's."""
        return Resident(images, self.target, self.mean, self.std, self.device, self.resize_px)


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
