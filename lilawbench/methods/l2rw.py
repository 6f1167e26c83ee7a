"""L2RW: each batch is weighted anew, by how much a step on each of its samples would lower the loss of a meta batch.

    w~_i = max(-d meta(w - lr sum_j eps_j grad l_j) / d eps_i at eps = 0, 0),     w_i = w~_i / sum_j w~_j

The derivative is -lr <grad l_i, grad meta>, both at the present weights: no step is taken to find it, and lr falls out
of w. With s_i = d l_i / d z_i at the logits z, and v = grad meta,

    <grad l_i, v> = <s_i, (J v)_i>      J = dz/dw

where J v is one pass in forward mode over the batch (`lookahead.forward_mode`).
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.lookahead import (
    Network,
    Stream,
    finite_difference,
    forward_mode,
    meta_gradient,
    random_state,
)
from lilawbench.support.distributed import World
from lilawbench.tasks import CLASSES

WAYS = {"jvp": forward_mode, "finite_difference": finite_difference}


def alignment(
    network: Network,
    input: Tensor,
    losses: Tensor,
    logits: Tensor,
    meta: Callable[[Sequence[Tensor]], Tensor],
    *,
    how: str = "jvp",
    stream: Stream | None = None,
    world: World | None = None,
    meta_share: float = 1.0,
) -> Tensor:
    """<grad l_i, grad meta> for each sample of a batch, [B]: above 0 where a step on it lowers the meta loss.

    Args:
        network: with the weights at which the gradients are taken. input: the batch, [B, ...].
        losses, logits: of the batch, [B] and [B, K], with their graph, which is kept.
        meta: weights -> mean meta loss [], through calls of `network`.
        how: "jvp", exact; "finite_difference", of the logits along grad meta, with an error of about 1e-3.
        stream: `random_state` before the forward of `logits`, so that dropout masks are the same.
        world, meta_share: the processes, and this one's weight in the mean over the meta batch.
    """
    (s,) = torch.autograd.grad(losses.sum(), logits, retain_graph=True)
    v = meta_gradient(meta, network.weights, world or World(), meta_share)
    _, u = WAYS[how](network, input, v, stream)
    return (s * u).sum(1)


class L2RW(Method):
    """Learning to reweight examples (Ren et al. 2018): no weight outlives its step.

    The real step is on sum_i w_i l_i. Where no sample of a batch helps, all w are 0 and the step has no gradient.
    The meta set is the validation rows.

    Args:
        loss: per-sample loss, of the batch and of the meta batch.
        meta_batch_size: rows of a meta batch, >= 2; None: as many as a training batch has.
        meta_mode: "train" | "eval", BatchNorm and dropout in the forward of the meta batch.
        hypergradient: "jvp" | "finite_difference", see `alignment`.
    Raises:
        ValueError: any of these out of range.
    Source: Ren et al. 2018, Algorithm 1, eq. 6 to 9. Deviations: the virtual step has no weight decay, as printed;
        momentum and decay of the real step are those of the run's optimiser.
    """

    uses_meta = True
    splits_batches = False  # weights are shares of the whole batch
    tasks = CLASSES
    suspicion: ClassVar = {"last_weight": -1, "mean_weight": -1}
    steps_differ = "it rewinds the random stream"
    weight: Tensor  # B w_i of the last step that saw the row, [N]
    total_weight: Tensor  # of all steps, [N]
    times: Tensor  # steps that saw the row, [N]

    def __init__(
        self,
        loss: Loss = ce,
        meta_batch_size: int | None = None,
        meta_mode: str = "train",
        hypergradient: str = "jvp",
    ):
        super().__init__(loss)
        if meta_batch_size is not None and (not isinstance(meta_batch_size, int) or meta_batch_size < 2):
            raise ValueError(f"meta_batch_size is {meta_batch_size}; it must be null or a whole number >= 2")
        if meta_mode not in ("train", "eval"):
            raise ValueError(f"meta_mode is {meta_mode!r}; it must be train or eval")
        if hypergradient not in WAYS:
            raise ValueError(f"hypergradient is {hypergradient!r}; it must be one of {list(WAYS)}")
        self.meta_batch_size, self.meta_mode, self.how = meta_batch_size, meta_mode, hypergradient

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.register_buffer("weight", torch.ones(ctx.num_train, device=ctx.device))
        self.register_buffer("total_weight", torch.zeros(ctx.num_train, device=ctx.device))
        self.register_buffer("times", torch.zeros(ctx.num_train, device=ctx.device))
        self._begin()

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self._begin()

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        whole = ctx.meta(self.meta_batch_size or ctx.full_batch_size)
        meta_batch, network = whole.share(ctx.world), ctx.functional()
        stream = random_state(ctx.device)
        logits = ctx.forward(batch.input)
        losses = self.sample_losses(logits, batch)

        def meta(weights: Sequence[Tensor]) -> Tensor:
            with ctx.side_pass("eval", grad=True) if self.meta_mode == "eval" else nullcontext():
                return self.per_sample(network(weights, meta_batch.input), meta_batch.target).mean()

        helps = alignment(
            network, batch.input, losses, logits, meta,
            how=self.how, stream=stream, world=ctx.world, meta_share=whole.fraction(ctx.world),
        ).clamp(min=0)  # fmt: skip
        mean = helps.mean()
        ctx.world.mean_([mean], ctx.share)
        weight = torch.where(mean > 0, helps / mean.clamp(min=torch.finfo(mean.dtype).tiny), 0)  # B w_i
        return StepOutput((weight * losses).mean(), logits.detach(), weight)

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None:
        if out.weight is not None:
            self.now.index_copy_(0, batch.index, out.weight.to(self.now.dtype))
            self.seen.index_fill_(0, batch.index, 1)

    def on_epoch_end(self, ctx: Context) -> None:
        super().on_epoch_end(ctx)
        times = ctx.world.sum_(self.seen)
        found = ctx.world.sum_(self.now) / times.clamp(min=1)
        self.weight = torch.where(times > 0, found, self.weight)
        self.total_weight = self.total_weight + found
        self.times = self.times + times.clamp(max=1)
        self._begin()

    def sample_values(self) -> dict[str, Tensor]:
        """B w_i at the row's last step, and its mean over all epochs; 1 before the first, [N]."""
        mean = torch.where(self.times > 0, self.total_weight / self.times.clamp(min=1), 1)
        return {**super().sample_values(), "last_weight": self.weight, "mean_weight": mean}

    def _begin(self) -> None:
        """Nothing is known of the epoch yet."""
        self.now, self.seen = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
