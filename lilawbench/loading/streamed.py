"""Data that stay in their files: decoded batch by batch, ahead of the step that wants them."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lilawbench.augment.transforms import Augment
from lilawbench.loading.batch import Batch
from lilawbench.loading.image_files import Decoding, ImageFiles
from lilawbench.loading.resident import Resident
from lilawbench.support import host
from lilawbench.support.distributed import World
from lilawbench.support.seeding import derive_torch

AHEAD = 2  # batches that are decoded while one is used
EVAL_BATCH = 128  # 77 MB of float32 pixels at 224 px


def table(input: Tensor | ImageFiles, *described: Any) -> Resident:
    """Rows of one split wherever they are: a `Resident`, or, of images in files, a `Streamed` described alike."""
    return (Streamed if isinstance(input, ImageFiles) else Resident)(input, *described)


class Streamed(Resident):
    """In the place of a `Resident`, for images in files: the same rows, batches and normalisation.

    Args:
        input: the files' names, one a row. The others: see `Resident`.
    """

    input: ImageFiles
    expected: tuple[Tensor, Decoding] | None = None

    def _held(self, input: ImageFiles) -> ImageFiles:
        return input

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
        """As `Resident.pixels`; a shift moves the window over the whole scaled image, which may be larger than it.

        Only the share of `world` is decoded; the other rows are black.

        Raises:
            DataError: images that cannot be read.
        """
        # of its own: these draws run ahead of those that the augmentation takes from `generator`
        shifts = derive_torch(generator.initial_seed(), "shifts") if crop_px else None
        begun: deque = deque()
        try:
            for rows in parts:
                shift = torch.randint(-crop_px, crop_px + 1, (2, len(rows)), generator=shifts) if crop_px else None
                begun.append((rows, self._start(rows, shift, world)))
                if len(begun) > AHEAD:
                    yield self._ready(*begun.popleft())
            while begun:
                yield self._ready(*begun.popleft())
        finally:  # whoever broke off needs no more of them
            for _, images in begun:
                images.cancel()

    def _start(self, rows: Tensor, shift: Tensor | None = None, world: World | None = None) -> Decoding:
        own = None if world is None else world.share(torch.arange(len(rows))).numpy()
        if rows.device != self.rows_device:
            rows = host.bring(rows, "rows of images in files")
        return self.input.start(rows.tolist(), None if shift is None else shift.numpy(), own)

    def _ready(self, rows: Tensor, images: Decoding) -> tuple[Tensor, Tensor]:
        return host.send(rows, self.device), host.send(images.wait(), self.device)

    def expect(self, rows: Tensor) -> None:
        """Begins to decode them."""
        self.expected = rows, self._start(rows)

    def batch(self, rows: Tensor) -> Batch:
        """As `Resident.batch`; rows that were expected are on their way already."""
        expected, self.expected = self.expected, None
        if expected is not None and torch.equal(expected[0], rows):
            rows, raw = self._ready(*expected)
            return Batch(rows, self.normalise(raw), self.target.index_select(0, rows))
        if expected is not None:
            expected[1].cancel()
        return super().batch(rows)

    def in_order(self, size: int = EVAL_BATCH, world: World | None = None) -> Iterator[Batch]:
        """As `Resident.in_order`."""
        return super().in_order(min(size, EVAL_BATCH), world)

    def normalised(self) -> "Streamed":
        """This split: it is normalised batch by batch."""
        return self

    def augmented(self, augment: Augment, generator: torch.Generator) -> Resident:
        """As `Resident.augmented`, with all views held in memory."""
        return self._with(self.input.load()).augmented(augment, generator)
