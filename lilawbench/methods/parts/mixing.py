"""Mixup: rows of a batch, or of several, as convex combinations of two."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lilawbench.methods.context import Context
from lilawbench.support import host
from lilawbench.support.seeding import derive


class Mix(NamedTuple):
    """How rows are mixed: share x + (1 - share) x[partner]."""

    share: float
    partner: Tensor  # [B] int64, a permutation

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows [B, ...] float, mixed."""
        return torch.lerp(rows[self.partner], rows, self.share)


class ChosenMix(NamedTuple):
    """How the chosen rows of a batch are mixed among themselves: share x[first] + (1 - share) x[partner].

    There are as many mixes as the batch has rows, whatever number is chosen: the first ones are all that count.
    """

    share: float
    first: Tensor  # [B] int64, the chosen rows in random order, then again from the beginning
    partner: Tensor  # [B] int64, likewise in another order
    weight: Tensor  # [B], 1 / number of chosen rows of each mix that counts, else 0; all 0 where none is chosen

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows [B, ...] float -> mixes [B, ...]."""
        return torch.lerp(rows[self.partner], rows[self.first], self.share)


class Mixer:
    """Draws mixes for an epoch, the same on every device and rank; `start` it in `on_epoch_start`.

    Args:
        alpha: share ~ Beta(alpha, alpha), > 0.
        at_least_half: max(share, 1 - share) in its place, so that a row stays more itself than its partner.
    Raises:
        ValueError: alpha out of range.
    Source: Zhang et al. 2018, section 2; at_least_half: Berthelot et al. 2019 (MixMatch), eq. 9.
    """

    def __init__(self, alpha: float, at_least_half: bool = False):
        if not 0 < alpha < np.inf:
            raise ValueError(f"alpha is {alpha}; it must be > 0 and finite")
        self.alpha, self.at_least_half = alpha, at_least_half
        self.generator = np.random.default_rng(0)

    def start(self, ctx: Context) -> None:
        """Starts the stream of this epoch."""
        self.generator = derive(ctx.seed, "mix", ctx.epoch)

    def __call__(self, count: int, device: torch.device) -> Mix:
        """The mix of `count` rows."""
        share = self._share()
        return Mix(share, host.send(torch.from_numpy(self.generator.permutation(count)), device))

    def among(self, chosen: Tensor) -> ChosenMix:
        """A mix of the rows of a batch that a mask [B] chooses; where it chooses none, of all, and none counts."""
        share, count = self._share(), len(chosen)
        keys = host.send(torch.from_numpy(self.generator.random((2, count))), chosen.device)
        first, partner = (keys + chosen.logical_not()).argsort(dim=1)  # those chosen, in [0, 1), come before the others
        places, number = torch.arange(count, device=chosen.device), chosen.sum()
        again = places % torch.where(number > 0, number, count)
        weight = (places < number) / number.clamp(min=1)
        return ChosenMix(share, first[again], partner[again], weight)

    def _share(self) -> float:
        share = float(self.generator.beta(self.alpha, self.alpha))
        return max(share, 1 - share) if self.at_least_half else share
