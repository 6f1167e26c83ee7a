"""What every split gives to training and evaluation: its rows in batches on the device, wherever they are kept."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.augment.transforms import Augment
from lilawbench.loading.batch import Batch
from lilawbench.loading.image_files import ImageFiles
from lilawbench.support.distributed import World

EVAL_BATCH = 512
CPU_EVAL_BATCH = 128  # activations stay in a core's cache: half the time of 512 in a small CNN

Input = TypeVar("Input", Tensor, ImageFiles)


class Rows(ABC, Generic[Input]):
    """Rows of one split. A subclass says where their inputs are, and fetches them: `pixels`.

    Args:
        input: [N, ...]; a tensor goes to the device, uint8 images as they are, to be normalised per batch.
        target: observed labels (clean for the test set), as `Batch.target`.
        mean, std: per channel on the 0..1 scale, for uint8 images; several for a grey image make it as many channels.
        resize_px: side of the square that images are scaled to, batch by batch; they are kept as they are.
        interpolation: bilinear | bicubic.
    """

    def __init__(
        self,
        input: Input,
        target: Tensor,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        device: torch.device | str = "cpu",
        resize_px: int | None = None,
        interpolation: str = "bilinear",
    ):
        self.target = target.to(device)
        self.device = self.target.device
        self.input: Input = input.to(self.device) if isinstance(input, Tensor) else input
        self.mean, self.std, self.resize_px, self.interpolation = mean, std, resize_px, interpolation
        self.scaled = mean is not None and std is not None
        if self.scaled:  # (x / 255 - mean) / std as a multiplication and an addition
            mean_, std_ = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (mean, std))
            self.scale, self.shift = 1 / (255 * std_), -mean_ / std_

    @property
    def rows_device(self) -> torch.device:
        """The device of the row numbers that it is asked for."""
        return self.device

    def __len__(self) -> int:
        return len(self.target)

    @abstractmethod
    def pixels(
        self,
        parts: Iterable[Tensor],
        crop_px: int = 0,
        generator: torch.Generator | None = None,
        world: World | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Row numbers [B] int64 on `rows_device` -> the same and their inputs as stored, on the device, part by part.

        Args:
            crop_px: each image is shifted by up to this many pixels, drawn by `generator`, which is the host's; black
                outside the image.
            world: of a rank that needs only its share of each part; the other rows may then be anything.
        """

    def normalise(self, raw: Tensor) -> Tensor:
        """Normalises a fresh batch, which may be overwritten, then scales it to `resize_px`.

        Where that makes images smaller, each pixel is the mean of all that fall into it (antialias). What bicubic
        scaling overshoots is cut to the range of pixels.
        """
        ready = raw.to(torch.float32) if self.scaled else raw
        if self.scaled and raw.shape[1] == len(self.scale):
            ready = ready.mul_(self.scale).add_(self.shift)
        elif self.scaled:  # grey, in several channels
            ready = (ready * self.scale).add_(self.shift)
        if self.resize_px is None:
            return ready
        ready = F.interpolate(ready, size=(self.resize_px,) * 2, mode=self.interpolation, antialias=True)
        if self.scaled and self.interpolation == "bicubic":
            ready = ready.clamp_(self.shift, self.shift + 255 * self.scale)
        return ready

    def batch(self, rows: Tensor) -> Batch:
        """Row numbers [B] int64 on `rows_device` -> Batch on the device, un-augmented."""
        return next(self.batches([rows]))

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Batch]:
        """As `batch`, part by part."""
        for rows, raw in self.pixels(parts):
            yield Batch(rows, self.normalise(raw), self.target.index_select(0, rows))

    def part(self, rows: Tensor) -> Self:
        """Some rows [n] int64, sorted and different, as a split of their own; inputs on the device are copied."""
        part = copy.copy(self)
        here = rows.to(self.device)
        part.target = self.target[here]
        part.input = self.input[here] if isinstance(self.input, Tensor) else self.input[rows.numpy()]
        return part

    def expect(self, rows: Tensor) -> None:
        """Announces the rows that `batch` will be asked for next, so that they can be made ready."""

    def normalised(self) -> "Rows[Input]":
        """This split normalised once, if its inputs can be kept so; else itself."""
        return self

    def augmented(self, augment: Augment, generator: torch.Generator) -> "Rows[Tensor]":
        """This split of images seen once through `augment`; the views are then fixed, and kept in memory."""
        raise NotImplementedError

    def in_order(self, size: int | None = None, world: World | None = None) -> Iterator[Batch]:
        """All rows once, in order, un-augmented, as every evaluation sees them.

        Args:
            size: of a batch; None: what suits the device.
            world: gives only this rank's share of the rows, so that each row is in exactly one rank's.
        """
        size = size or (CPU_EVAL_BATCH if self.device.type == "cpu" else EVAL_BATCH)
        rows = torch.arange(len(self), device=self.rows_device)
        if world is not None:
            rows = rows.tensor_split(world.size)[world.rank]
        yield from self.batches(part for part in rows.split(size) if len(part))


Splits = tuple[Rows, Rows, Rows]  # training, validation and test rows of a run
