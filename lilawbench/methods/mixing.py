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
        share = float(self.generator.beta(self.alpha, self.alpha))
        partner = torch.from_numpy(self.generator.permutation(count))
        return Mix(max(share, 1 - share) if self.at_least_half else share, host.send(partner, device))
