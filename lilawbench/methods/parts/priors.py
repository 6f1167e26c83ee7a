"""How often a network says each class, followed over the steps, of the rows that it chose and of the others."""

import torch
from torch import Tensor, nn

from lilawbench.methods.context import Context

CHOSEN, OTHERS = 0, 1
SMALLEST = 1e-8  # whose logarithm is taken


class Priors(nn.Module):
    """pi <- decay pi + (1 - decay) mean p, from 1 / K, for two networks and two kinds of rows.

    Args:
        decay: in [0, 1).
    Raises:
        ValueError: decay out of range.
    Source: ProMix, section 3.2. Deviation: where a batch has no row of a kind, pi of that kind stays.
    """

    pi: Tensor  # [2 networks, 2 kinds, K]

    def __init__(self, decay: float):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"pi_decay is {decay}; it must lie in [0, 1)")
        self.decay = decay

    def setup(self, ctx: Context) -> None:
        self.register_buffer("pi", torch.full((2, 2, ctx.num_classes), 1 / ctx.num_classes, device=ctx.device))

    def log(self) -> Tensor:
        """log pi, [2, 2, K]."""
        return self.pi.clamp(min=SMALLEST).log()

    @torch.no_grad()
    def follow(self, ctx: Context, probs: Tensor, chosen: Tensor) -> Tensor:
        """Moves pi by a batch, the same on every rank.

        Args:
            probs: p of both networks, [2, B, K]. chosen: by each, [2, B] bool.
        Returns:
            How many rows of each kind the global batch has, or 1, [2, 2].
        """
        kinds = torch.stack([chosen, ~chosen], dim=1).to(probs.dtype)  # [2, 2, B]
        sums = ctx.world.sum_(torch.cat([kinds @ probs, kinds.sum(2, keepdim=True)], dim=2))
        counts = sums[:, :, -1:]
        mean = sums[:, :, :-1] / counts.clamp(min=1)
        self.pi = torch.where(counts > 0, self.decay * self.pi + (1 - self.decay) * mean, self.pi).to(self.pi.dtype)
        return counts[:, :, 0].clamp(min=1)
