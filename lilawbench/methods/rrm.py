"""RRM: every few epochs, samples whose loss is too far above the smallest lose their weight.

Sample i weighs p_i = 1/N + u_i. Training steps hold u; then u moves towards the optimum of

    min_u  sum_i (1/N + u_i) c_i + s gamma ||u||_1    s.t.  sum_i u_i = 0,  u_i >= -1/N

where c are the losses of the whole training set and s is the penalty scale. The optimum has a closed form
(Corollary 3.1.1).
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.metrics.crossing import pruning
from lilawbench.support import host
from lilawbench.support.errors import RunFailed


def reweight(
    losses: Tensor, gamma: float | None = None, contamination: float | None = None, penalty_scale: float = 0.5
) -> Tensor:
    """The re-weighting u* of Corollary 3.1.1: prune (u = -1/N) every sample whose loss exceeds the smallest by more
    than the threshold, give the mass to the samples of the smallest loss in equal parts, leave the rest (u = 0).

    It solves the linear program in the head of this file, in time linear in N, without sorting, on the losses' device.

    Args:
        losses: c, [N], any finite values.
        gamma: threshold, > 0; not used if `contamination` is given.
        contamination: C' in [0, 1): prune at least C' N samples, those of the largest losses, and more only where
            losses tie at the limit; none if the limit is the smallest loss.
        penalty_scale: s; the threshold is 2 s gamma: 0.5 is Eq. 2, 1.0 is Algorithm 3 as printed.
    Returns:
        u, [N] float64; sums to 0, u >= -1/N.
    Raises:
        ValueError: losses empty or not finite, gamma <= 0, contamination outside [0, 1), penalty_scale <= 0.
    Source: RRM, Corollary 3.1.1 and Section 3.5.1. Deviations: none.
    """
    _check_threshold(gamma, contamination, penalty_scale)
    ends = torch.stack(losses.aminmax()) if len(losses) else losses.new_full((2,), math.nan)
    smallest, largest = host.read(ends, "losses to re-weight")
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise ValueError(
            f"losses are {smallest} to {largest} over {len(losses)} samples; there must be some, all of them finite"
        )
    count = 0 if contamination is None else math.ceil(contamination * len(losses) - 1e-9)
    if contamination is None and gamma is not None:
        pruned = losses > smallest + 2 * penalty_scale * gamma
    elif count:
        limit = losses.topk(count, sorted=False).values.amin()  # kthvalue takes ten times as long on CUDA
        pruned = (losses >= limit) & (limit > smallest)
    else:
        pruned = torch.zeros_like(losses, dtype=torch.bool)
    least = losses == smallest
    share = pruned.sum(dtype=torch.float64) / (len(losses) * least.sum())
    return least.double().mul_(share).add_(pruned, alpha=-1 / len(losses))


class RRM(Method):
    """Rockafellian relaxation: plain training with sample weights that are recomputed in closed form every few epochs.

    Args:
        gamma, contamination, penalty_scale: see `reweight`. A contamination estimate sets gamma, and mu to 1.
        mu: step of the re-weighting, u <- mu u* + (1 - mu) u, in (0, 1].
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
    u: Tensor
    lowest_weight: Tensor  # of N p_i, in any epoch
    pruned: Tensor  # by the last round
    round: Tensor
    weight: Tensor  # N p_i
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
        super().__init__(loss)
        _check_threshold(gamma, contamination, penalty_scale)
        if not 0 < mu <= 1:
            raise ValueError(f"mu is {mu}; it must lie in (0, 1]")
        if not isinstance(reweight_every_epochs, int) or reweight_every_epochs < 1:
            raise ValueError(f"reweight_every_epochs is {reweight_every_epochs}; it must be a whole number >= 1")
        if reweight_losses not in ("sweep", "training"):
            raise ValueError(f"reweight_losses is {reweight_losses!r}; it must be sweep or training")
        if loss_scale not in ("mean", "paper"):
            raise ValueError(f"loss_scale is {loss_scale!r}; it must be mean or paper")
        self.gamma, self.contamination, self.penalty_scale = gamma, contamination, penalty_scale
        self.mu = 1.0 if contamination is not None else mu
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
        count, device = ctx.num_train, ctx.device
        self.register_buffer("u", torch.zeros(count, dtype=torch.float64, device=device))
        self.register_buffer("lowest_weight", torch.ones(count, device=device))
        self.register_buffer("pruned", torch.zeros(count, dtype=torch.bool, device=device))
        self.register_buffer("round", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("weight", torch.ones(count, device=device), persistent=False)
        self.register_buffer("seen_losses", torch.zeros(count, device=device), persistent=False)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.weight = self._weight()  # not in the checkpoint
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
        rows: slice | Tensor = slice(None)
        if self.reweight_losses == "sweep":
            losses = self._losses_in_order(ctx)
        else:
            rows, losses = self._seen_losses(ctx)
        try:
            best = reweight(losses, self.gamma, self.contamination, self.penalty_scale)
        except ValueError as error:
            raise RunFailed(f"re-weighting after epoch {ctx.epoch}: {error}; lower train.lr") from error
        self.u, self.pruned = self.u.clone(), self.pruned.clone()
        self.u[rows], self.pruned[rows] = self._moved(self.u[rows], best), best < 0
        self.round = self.round + 1
        self.weight = self._weight()
        self.lowest_weight = torch.minimum(self.lowest_weight, self.weight)

    def seen(self, ctx: Context, batch: Batch) -> Tensor:
        """The inputs of a batch that training and re-weighting use; A-RRM perturbs them."""
        return batch.input

    def logs(self) -> dict[str, float | Tensor]:
        rounds, pruned = host.read(torch.stack([self.round.double(), self.pruned.double().mean()]), "re-weightings")
        return {"reweightings": int(rounds), "pruned": pruned}

    def sample_values(self) -> dict[str, Tensor]:
        own = {"weight": self._weight(), "pruned": self.pruned, "lowest_weight": self.lowest_weight}
        return {**super().sample_values(), **own}

    def _moved(self, u: Tensor, best: Tensor) -> Tensor:
        """mu u* + (1 - mu) u of n rows, [n], with u* = m (1/n + best) - 1/N: the sum m of their p stays the same.

        Args:
            best: their re-weighting as if they were all, [n]; of all N rows it is u*.
        """
        count = len(self.u)
        if len(best) < count:
            best = (u + 1 / count).sum() * (1 / len(best) + best) - 1 / count
        return (self.mu * best + (1 - self.mu) * u).clamp_(min=-1 / count)

    def _weight(self) -> Tensor:
        """N p_i = 1 + N u_i, [N] float32, mean 1."""
        return (1 + len(self.u) * self.u).float()

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


def _check_threshold(gamma: float | None, contamination: float | None, penalty_scale: float) -> None:
    if contamination is None and (gamma is None or not 0 < gamma < math.inf):
        raise ValueError(f"gamma is {gamma}; it must be > 0 (or give contamination)")
    if contamination is not None and not 0 <= contamination < 1:
        raise ValueError(f"contamination is {contamination}; it must lie in [0, 1)")
    if not 0 < penalty_scale < math.inf:
        raise ValueError(f"penalty_scale is {penalty_scale}; it must be > 0")
