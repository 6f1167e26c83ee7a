"""Rows in the device's memory: a batch is one index_select, normalised and augmented there."""

from collections.abc import Iterable, Iterator
from typing import Self

import torch
from torch import Tensor

from lilawbench.augment.transforms import Augment, Windows
from lilawbench.loading.rows import EVAL_BATCH, Rows
from lilawbench.support.distributed import World


class Resident(Rows[Tensor]):
    """Rows of one split on the device. Arguments: see `Rows`."""

    windows: Windows | None = None  # of `pixels`

    def pixels(
        self,
        parts: Iterable[Tensor],
        crop_px: int = 0,
        generator: torch.Generator | None = None,
        world: World | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Rows.pixels`; all rows are at hand, so that `world` makes no difference."""
        for rows in parts:
            yield rows, self._shifted(rows, crop_px, generator) if crop_px else self.input.index_select(0, rows)

    def _shifted(self, rows: Tensor, crop_px: int, generator: torch.Generator | None) -> Tensor:
        if generator is None:
            raise ValueError("random crops need a generator")
        if self.windows is None or self.windows.crop_px != crop_px:
            self.windows = Windows(self.input, crop_px)
        return self.windows(rows, generator)

    def part(self, rows: Tensor) -> Self:
        part = super().part(rows)
        part.windows = None
        return part

    def normalised(self) -> "Resident":
        """This split normalised once, in four times the memory: a meta step draws from it at every step.

        Images that are scaled stay as they are: scaled, CIFAR at 224 px takes 49 times the memory.
        """
        if not self.scaled or self.resize_px is not None:
            return self
        ready = torch.cat([self.normalise(part.clone()) for part in self.input.split(EVAL_BATCH)])
        return Resident(ready, self.target, device=self.device)

    def augmented(self, augment: Augment, generator: torch.Generator) -> "Resident":
        rows = torch.arange(len(self), device=self.device)
        seen = augment(Windows(self.input, augment.crop_px)(rows, generator), generator)
        images = seen if seen.dtype == torch.uint8 else seen.round().to(torch.uint8)
        return Resident(images, self.target, self.mean, self.std, self.device, self.resize_px, self.interpolation)
