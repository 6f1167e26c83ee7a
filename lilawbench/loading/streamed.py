"""Rows of images that stay in their files: decoded batch by batch, ahead of the step that needs them."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Self

import torch
from torch import Tensor

from lilawbench.augment.transforms import Augment
from lilawbench.loading.batch import Batch
from lilawbench.loading.image_files import Decoding, ImageFiles
from lilawbench.loading.resident import Resident
from lilawbench.loading.rows import Rows
from lilawbench.support import host
from lilawbench.support.distributed import World
from lilawbench.support.seeding import derive_torch

AHEAD = 2  # batches that are decoded while one is used
EVAL_BATCH = 128  # 77 MB of float32 pixels at 224 px


def rows_of(
    input: Tensor | ImageFiles,
    target: Tensor,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    device: torch.device | str = "cpu",
    resize_px: int | None = None,
    interpolation: str = "bilinear",
) -> Rows:
    """Rows of one split: `Streamed` for images in files, else `Resident`. Arguments: see `Rows`."""
    if isinstance(input, ImageFiles):
        return Streamed(input, target, mean, std, device, resize_px, interpolation)
    return Resident(input, target, mean, std, device, resize_px, interpolation)


class Streamed(Rows[ImageFiles]):
    """Rows of one split in image files, with the same batches as a `Resident`. Arguments: see `Rows`."""

    expected: tuple[Tensor, Decoding] | None = None

    @property
    def rows_device(self) -> torch.device:
        """The host: it opens the files."""
        return torch.device("cpu")

    def pixels(
        self,
        parts: Iterable[Tensor],
        crop_px: int = 0,
        generator: torch.Generator | None = None,
        world: World | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Rows.pixels`; a shift moves the window over the whole scaled image, which may be larger than the window.

        Only the share of `world` is decoded; the other rows are black.

        Raises:
            DataError: images that cannot be read.
        """
        shifts = None
        if crop_px:
            if generator is None:
                raise ValueError("random crops need a generator")
            # one of its own: these draws run ahead of those that the augmentation takes from `generator`
            shifts = derive_torch(generator.initial_seed(), "shifts")
        begun: deque[tuple[Tensor, Decoding]] = deque()
        try:
            for rows in parts:
                shift = torch.randint(-crop_px, crop_px + 1, (2, len(rows)), generator=shifts) if crop_px else None
                begun.append((rows, self._start(rows, shift, world)))
                if len(begun) > AHEAD:
                    yield self._ready(*begun.popleft())
            while begun:
                yield self._ready(*begun.popleft())
        finally:  # nobody needs the rest after an early stop
            for _, images in begun:
                images.cancel()

    def _start(self, rows: Tensor, shift: Tensor | None = None, world: World | None = None) -> Decoding:
        own = None if world is None else world.share(torch.arange(len(rows))).tolist()
        if rows.device != self.rows_device:
            rows = host.bring(rows, "rows of images in files")
        return self.input.start(rows.tolist(), None if shift is None else shift.numpy(), own)

    def _ready(self, rows: Tensor, images: Decoding) -> tuple[Tensor, Tensor]:
        return host.send(rows, self.device), host.send(images.wait(), self.device)

    def expect(self, rows: Tensor) -> None:
        """Starts to decode them."""
        self.expected = rows, self._start(rows)

    def part(self, rows: Tensor) -> Self:
        part = super().part(rows)
        part.expected = None
        return part

    def batch(self, rows: Tensor) -> Batch:
        """As `Rows.batch`; expected rows are being decoded already."""
        expected, self.expected = self.expected, None
        if expected is not None and torch.equal(expected[0], rows):
            rows, raw = self._ready(*expected)
            return Batch(rows, self.normalise(raw), self.target.index_select(0, rows))
        if expected is not None:
            expected[1].cancel()
        return super().batch(rows)

    def in_order(self, size: int | None = None, world: World | None = None) -> Iterator[Batch]:
        """As `Rows.in_order`, in batches of at most 128."""
        return super().in_order(min(size or EVAL_BATCH, EVAL_BATCH), world)

    def augmented(self, augment: Augment, generator: torch.Generator) -> Resident:
        """As `Resident.augmented`, with all views in memory."""
        scale = (self.mean, self.std, self.device, self.resize_px, self.interpolation)
        images = Resident(self.input.load(), self.target, *scale)
        return images.augmented(augment, generator)
