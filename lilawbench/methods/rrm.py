"""RRM: every few epochs, samples whose loss is too far above the smallest lose their weight.

Training steps hold the weights of `Rockafellian`; a round moves them.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.rockafellian import Rockafellian, reweight
from lilawbench.metrics.crossing import pruning
from lilawbench.support import host
from lilawbench.support.errors import RunFailed

__all__ = ["RRM", "reweight"]


class RRM(Rockafellian, Method):
    """Rockafellian relaxation: plain training with sample weights that are recomputed in closed form every few epochs.

    Args:
        gamma, mu, contamination, penalty_scale: see `Rockafellian`.
        reweight_every_epochs: sigma, >= 1.
        reweight_losses: "sweep", all losses from one pass in eval mode, un-augmented; "training", an approximation
            that costs nothing: each sample's loss in the epoch's own batches, while the model moved. Where an epoch
            does not see all rows (train.balanced_samples), the rows seen share out the mass that they have among
            themselves, and the others keep theirs.
        loss_scale: "mean", the batch loss mean_i N p_i l_i; "paper", sum_i p_i l_i, which needs a learning rate
            N / B times larger.
        loss: per-sample base loss.
    Raises:
        ValueError: any of these out of range.
    Source: RRM, Algorithms 1-3. Deviations: none that is not an option.
    """

    crossings = (pruning,)
    suspicion: ClassVar = {"weight": -1, "pruned": 1, "lowest_weight": -1}
    idle = "never re-weighted"
    steps_differ: str | None = None
    seen_losses: Tensor  # NaN: not seen in this epoch

    def __init__(
        self,
        gamma: float | None = 0.4,
        mu: float = 0.5,
        contamination: float | None = None,
        penalty_scale: float = 0.5,
        reweight_every_epochs: int = 10,
        reweight_losses: str = "sweep",
        loss_scale: str = "mean",
        loss: Loss = ce,
    ):
        super().__init__(gamma, mu, contamination, penalty_scale, loss=loss)
        if not isinstance(reweight_every_epochs, int) or reweight_every_epochs < 1:
            raise ValueError(f"reweight_every_epochs is {reweight_every_epochs}; it must be a whole number >= 1")
        if reweight_losses not in ("sweep", "training"):
            raise ValueError(f"reweight_losses is {reweight_losses!r}; it must be sweep or training")
        if loss_scale not in ("mean", "paper"):
            raise ValueError(f"loss_scale is {loss_scale!r}; it must be mean or paper")
        self.reweight_every_epochs, self.reweight_losses = reweight_every_epochs, reweight_losses
        self.loss_scale = loss_scale

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        if self.reweight_every_epochs >= epochs:
            why = f"method.reweight_every_epochs is {self.reweight_every_epochs}, of {epochs} epochs"
            found.append(f"{self.idle}: {why}: none trains on new weights")
        elif self.contamination == 0:
            found.append(f"{self.idle}: method.contamination is 0")
        return found

    def told(self) -> list[str]:
        return [] if self.contamination is None else [f"method.contamination={self.contamination:g}"]

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.allocate(ctx.num_train, ctx.device)
        self.register_buffer("seen_losses", torch.zeros(ctx.num_train, device=ctx.device), persistent=False)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.restore()
        self.seen_losses = torch.full_like(self.seen_losses, math.nan)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = ctx.forward(self.seen(ctx, batch))
        losses = self.sample_losses(logits, batch)
        if self.reweight_losses == "training":
            self.seen_losses.index_copy_(0, batch.index, losses.detach().to(self.seen_losses.dtype))
        weight = self.weight.index_select(0, batch.index)
        loss = (weight * losses).mean()
        if self.loss_scale == "paper":
            loss = loss * (ctx.batch_size / len(self.weight))
        return StepOutput(loss, logits.detach(), weight)

    def on_epoch_end(self, ctx: Context) -> None:
        super().on_epoch_end(ctx)
        if ctx.epoch % self.reweight_every_epochs:
            return
        rows: Tensor | None = None
        if self.reweight_losses == "sweep":
            losses = self._losses_in_order(ctx)
        else:
            rows, losses = self._seen_losses(ctx)
        try:
            self.move(losses, rows)
        except ValueError as error:
            raise RunFailed(f"re-weighting after epoch {ctx.epoch}: {error}; lower train.lr") from error

    def seen(self, ctx: Context, batch: Batch) -> Tensor:
        """The inputs of a batch that training and re-weighting use; A-RRM perturbs them."""
        return batch.input

    def logs(self) -> dict[str, float | Tensor]:
        return self.said()

    def sample_values(self) -> dict[str, Tensor]:
        return {**super().sample_values(), **self.values()}

    def _losses_in_order(self, ctx: Context) -> Tensor:
        """The losses of the whole training set, the same on every rank."""
        losses = torch.zeros_like(self.seen_losses)
        for batch in ctx.in_order():
            input = self.seen(ctx, batch)
            with ctx.side_pass("eval"):
                found = self.sample_losses(ctx.forward(input), batch, update=False)
            losses.index_copy_(0, batch.index, found.to(losses.dtype))
        return ctx.world.sum_(losses)

    def _seen_losses(self, ctx: Context) -> tuple[Tensor, Tensor]:
        """Rows of the epoch's batches, and their losses; for a row that several ranks saw, the mean."""
        losses = self.seen_losses
        if ctx.world.size > 1:
            times = ctx.world.sum_(losses.isnan().logical_not_().float())
            losses = ctx.world.sum_(losses.nan_to_num(0.0)) / times  # 0 / 0 is NaN
        seen = losses.isnan().logical_not_()
        rows = torch.nonzero_static(seen, size=host.read(seen.sum(), "how many rows were seen"))[:, 0]
        return rows, losses[rows]
