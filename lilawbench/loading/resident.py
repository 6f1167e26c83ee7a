"""Data that live on the device: a batch is one index_select, normalised and augmented there."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.augment.transforms import Augment, Windows
from lilawbench.loading.batch import Batch
from lilawbench.support.distributed import World

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
