"""MW-Net: a small net turns each sample's loss into its weight, and learns from a meta set how to.

    w_hat(theta) = w - lr (1/B) sum_i V(l_i; theta) grad l_i      virtual step (eq. 5)
    theta       <- Adam(theta, d meta(w_hat(theta)) / d theta)    (eq. 6, `lookahead`)
    loss         = (1/B) sum_i V(l_i; theta) l_i                  real step, with the new theta (eq. 7)

V sees the loss as a number: no gradient passes through its input.
"""

import functools
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.learned import OwnOptimizer
from lilawbench.methods.parts.lookahead import HYPERGRADIENTS, Stream, hypergradient, random_state
from lilawbench.methods.parts.own_forward import OwnForward
from lilawbench.support.lean import lean
from lilawbench.support.seeding import derive_torch
from lilawbench.tasks import CLASSES

SHOWN = 21  # losses 0, 0.5, ..., 10 at which V is logged


class WeightNet(OwnOptimizer):
    """V: losses [B] -> weights [B] in (0, 1): 1 - hidden - 1, ReLU, sigmoid, with its Adam.

    Args:
        hidden: width. lr, weight_decay: of Adam. generator: of the initial weights, those of torch's linear layers.
    """

    def __init__(self, hidden: int, lr: float, weight_decay: float, generator: torch.Generator, device: torch.device):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.layers = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        for layer, fan_in in ((self.layers[0], 1), (self.layers[2], hidden)):
            for p in layer.parameters():
                nn.init.uniform_(p, -(fan_in**-0.5), fan_in**-0.5, generator=generator)
        self.to(device)
        self.optimizer = lean(torch.optim.Adam, self.parameters(), lr=lr, weight_decay=weight_decay)

    def forward(self, losses: Tensor) -> Tensor:
        own = next(self.parameters()).dtype
        return self.layers(losses[:, None].to(own)).sigmoid()[:, 0].to(losses.dtype)

    def descend(self, gradients: Sequence[Tensor]) -> None:
        """One step of Adam."""
        for p, gradient in zip(self.parameters(), gradients, strict=True):
            p.grad = gradient
        self.step()


class MWNet(Method):
    """Meta-Weight-Net (Shu et al. 2019). The meta set is the validation rows.

    Args:
        loss: per-sample loss, of the batch and of the meta batch.
        hidden: width of V, >= 1.
        lr, weight_decay: of Adam on V, > 0 and >= 0.
        normalise: True divides the weights of a batch by their mean, in both steps; False, as the paper prints it.
        inner: "sgd", a virtual step of plain SGD with the run's learning rate, without momentum, decay or clipping |
            "optimizer", the step that the run's own optimiser would take.
        meta_batch_size: rows of a meta batch, >= 2; None: as many as a training batch has.
        meta_mode: "train" | "eval", BatchNorm and dropout in the virtual network's forward of the meta batch.
        meta_every_steps: model steps per step of V, >= 1.
        hypergradient: "jvp" | "double_backward" | "finite_difference", see `lookahead.hypergradient`.
    Raises:
        ValueError: any of these out of range.
    Source: Shu et al. 2019, eq. 3 to 7, Algorithm 1. Deviations: none that is not an option.
    """

    uses_meta = True
    splits_batches = False  # a look-ahead is one step of the whole batch
    tasks = CLASSES
    steps_differ = "it rewinds the random stream"

    def __init__(
        self,
        loss: Loss = ce,
        hidden: int = 100,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        normalise: bool = False,
        inner: str = "sgd",
        meta_batch_size: int | None = None,
        meta_mode: str = "train",
        meta_every_steps: int = 1,
        hypergradient: str = "jvp",
    ):
        super().__init__(loss)
        for name, number, least in (
            ("hidden", hidden, 1),
            ("meta_every_steps", meta_every_steps, 1),
            ("meta_batch_size", meta_batch_size, 2),
        ):
            if not isinstance(number, int) and not (number is None and name == "meta_batch_size"):
                raise ValueError(f"{name} is {number}; it must be a whole number >= {least}")
            if number is not None and number < least:
                raise ValueError(f"{name} is {number}; it must be a whole number >= {least}")
        for name, value, allowed in (
            ("inner", inner, ("sgd", "optimizer")),
            ("meta_mode", meta_mode, ("train", "eval")),
            ("hypergradient", hypergradient, HYPERGRADIENTS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it must be one of {list(allowed)}")
        if not lr > 0 or not weight_decay >= 0:
            raise ValueError(f"lr is {lr} and weight_decay {weight_decay}; they must be > 0 and >= 0")
        self.hidden, self.lr, self.weight_decay, self.normalise = hidden, lr, weight_decay, normalise
        self.inner, self.how, self.meta_mode = inner, hypergradient, meta_mode
        self.meta_batch_size, self.meta_every_steps = meta_batch_size, meta_every_steps
        self.on_own_forward = OwnForward("mw_net")

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        generator = derive_torch(ctx.seed, "weight_net")
        self.net = WeightNet(self.hidden, self.lr, self.weight_decay, generator, ctx.device)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.on_own_forward.start_epoch()

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        learns = ctx.step % self.meta_every_steps == 0
        stream = random_state(ctx.device) if learns else None
        logits = ctx.forward(batch.input)
        losses = self.sample_losses(logits, batch)
        if stream is not None:
            self._look_ahead(ctx, batch, logits, stream)
        with torch.no_grad():
            weight = self._weights(ctx, losses)
        return StepOutput((weight * losses).mean(), logits.detach(), weight)

    @torch.no_grad()
    def logs(self) -> dict[str, float | Tensor]:
        """V at the losses 0, 0.5, ..., 10, [21]."""
        return {"weight_of_loss": self.net(torch.linspace(0, 10, SHOWN, device=next(self.net.parameters()).device))}

    def _weights(self, ctx: Context, losses: Tensor) -> Tensor:
        """V of this rank's losses [B], over its mean in the whole batch where that is asked for."""
        weight = self.net(losses.detach())
        return weight / self._mean(ctx, losses) if self.normalise else weight

    def _mean(self, ctx: Context, losses: Tensor) -> Tensor:
        """The mean of V over the whole batch, with its graph: each rank works on the losses of all."""
        every = losses.detach()
        if ctx.world.size > 1:
            holders = ctx.world.size if len(losses) == ctx.batch_size else 1  # of each loss
            every = losses.new_zeros(ctx.batch_size)
            places = ctx.world.share(torch.arange(ctx.batch_size, device=losses.device))
            ctx.world.sum_(every.index_copy_(0, places, losses.detach() / holders))
        return self.net(every).mean()

    def _look_ahead(self, ctx: Context, batch: Batch, logits: Tensor, stream: Stream) -> None:
        """Moves V."""
        whole, network = ctx.meta(self.meta_batch_size or ctx.full_batch_size), ctx.functional()
        meta_batch, optimizer = whole.share(ctx.world), ctx.optimizer
        if self.inner == "sgd":
            optimizer = lean(torch.optim.SGD, network.weights, lr=ctx.optimizer.param_groups[0]["lr"])

        def inner(z: Tensor) -> Tensor:
            losses = self.sample_losses(z, batch, update=False)
            return (self._weights(ctx, losses) * losses).mean()

        def meta(weights: Sequence[Tensor]) -> Tensor:
            with ctx.side_pass("eval", grad=True) if self.meta_mode == "eval" else nullcontext():
                return self.per_sample(network(weights, meta_batch.input), meta_batch.target).mean()

        look = functools.partial(
            hypergradient, network, optimizer, batch.input, inner, meta, list(self.net.parameters()),
            how=self.how, stream=stream, world=ctx.world, share=ctx.share, meta_share=whole.fraction(ctx.world),
            clip_grad_norm=ctx.clip_grad_norm if self.inner == "optimizer" else None,
        )  # fmt: skip
        self.net.descend(self.on_own_forward(look, logits))
