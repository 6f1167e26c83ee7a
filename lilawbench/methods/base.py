"""The one abstraction of the package: a Method turns a batch into a loss and may act between steps.

The loop (engine/loop.py) knows nothing else about a method:

    for epoch:
        method.on_epoch_start(ctx)
        for batch in method.batches(ctx):
            for part of batch:  # train.accumulate_steps of them; by default one, the whole batch
                out = method.loss(ctx, part);  out.loss.backward()
            ctx.descend()  # method.on_gradients(ctx) comes before its step
            method.after_step(ctx, batch, out)
        method.on_epoch_end(ctx)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import Batches
from lilawbench.losses import StatefulLoss, ce
from lilawbench.methods.context import Context
from lilawbench.support.errors import ConfigError, RunFailed
from lilawbench.tasks import ALL

Loss = Callable[[Tensor, Tensor], Tensor]


def only_ce(loss: Loss) -> Loss:
    """The loss of a method whose own takes the place of cross-entropy, which is all that it can be given.

    Raises:
        ValueError: another loss.
    """
    if getattr(loss, "func", loss) is not ce:  # a config's is a functools.partial
        raise ValueError("it has a loss of its own, so that another is never used: take loss=ce")
    return loss


class StepOutput(NamedTuple):
    """What a method returns for a training batch."""

    loss: Tensor  # [] to back-propagate
    logits: Tensor  # [B, K] detached
    weight: Tensor | None = None  # [B] detached, where the method weights samples


class Method(nn.Module, ABC):
    """A training rule. It never holds a network; its state_dict is its whole state and goes into the checkpoint.

    Everything that it needs of the run comes through the Context of each call.

    Args:
        loss: per-sample loss, ([B, K], [B]) -> [B]; a StatefulLoss is part of the method's state.
    """

    networks: ClassVar[int] = 1  # copies of the model that it trains, seeded each for itself
    views: tuple[str, ...] = ("weak",)  # of each training row, see augment/views.py
    uses_meta: ClassVar[bool] = False
    splits_batches: ClassVar[bool] = True  # whether the loss of a batch is the mean of those of its parts
    perturbs_inputs: ClassVar[bool] = False  # trains or measures on inputs that no row has: attacked or mixed ones
    compares_inputs: ClassVar[bool] = False  # measures how far rows are from each other as they enter the network
    folds: int = 0  # parts of the training rows whose predictions by networks of the others it takes, see below
    tasks: ClassVar[tuple[str, ...]] = ALL  # that it is for, see tasks.py; the loss says the same of itself
    # How its `sample_values` are compared with the clean labels, which it never sees: functions (metrics/crossing.py)
    # whose keyword arguments name the values. Values that none of them names are compared by their type.
    crossings: ClassVar[tuple[Callable, ...]] = ()
    # Those of its `sample_values` that say which labels are wrong: 1, larger is more suspicious; -1, smaller is. Of
    # labels, 1: one that differs from the given one is suspicious.
    suspicion: ClassVar[Mapping[str, int]] = {}
    # Why two steps on whole batches may do different operations, so that no CUDA graph can replay both. None: they
    # never do while `warming_up` stays the same, and all that changes is in buffers.
    steps_differ: str | None = "it does not say that all its steps are the same"
    warming_up: bool = False
    idle: ClassVar[str] = "never past its warm-up"  # what tables say of a run in which it did nothing of its own
    observed: Tensor  # labels of the training table, where the loss is a StatefulLoss; not in the state_dict

    def __init__(self, loss: Loss):
        super().__init__()
        self.per_sample = loss

    def against_graphs(self) -> str | None:
        """Why a CUDA graph cannot replay the steps; None: it can."""
        loss = self.per_sample
        if isinstance(loss, StatefulLoss) and loss.steps_differ is not None:
            return f"of its loss, {type(loss).__name__}: {loss.steps_differ}"
        return self.steps_differ

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        """Why a run of so many epochs, each of so many steps, is the same as one without the method, or its loss.

        Returns:
            "WHAT: WHY" of each, such as "never corrected: method.warmup_epochs is 5, of 3 epochs"; WHAT marks the
            run in tables. Empty, where both take part.
        """
        found = []
        for group, part, never in (
            ("method", self, self.idle),
            ("loss", self.per_sample, "loss never past its warm-up"),
        ):
            warmup = getattr(part, "warmup_epochs", 0)
            if warmup >= epochs:
                found.append(f"{never}: {group}.warmup_epochs is {warmup}, of {epochs} epochs")
        return found + self.per_sample.never_acts(epochs) if isinstance(self.per_sample, StatefulLoss) else found

    def told(self) -> list[str]:
        """Options by which this run's method was told how noisy the labels are, such as "method.forget_rate=0.2".

        What its paper sets by the true noise rate or type. Tables mark the run: nobody knows these of real labels.
        """
        return []

    def setup(self, ctx: Context) -> None:
        """Called once, with the networks built and before a checkpoint is loaded: allocate state of size N here.

        Raises:
            ConfigError: the method's options do not fit these data.
        """
        if isinstance(self.per_sample, StatefulLoss):
            self.observed = ctx.targets
            try:
                self.per_sample.setup(ctx.num_train, ctx.num_classes, ctx.device)
                self.per_sample.observe(ctx.targets)
            except ValueError as error:
                raise ConfigError([f"loss: {error}"]) from error

    def take_out_of_sample(self, ctx: Context, probs: Tensor) -> None:
        """Called once before the first epoch that is trained, also of a resumed run, where `folds` asks for folds.

        The networks of the folds are trained by this method, to which nobody gives such predictions.

        Args:
            probs: of the training rows, each by a network that did not train on it, [N, K] on the host.
        """
        return

    def on_epoch_start(self, ctx: Context) -> None:
        """Called before an epoch's first batch. Raises: RunFailed, the method or its loss cannot go on."""
        if isinstance(self.per_sample, StatefulLoss):
            try:
                self.per_sample.start_epoch(ctx.epoch, lambda: (self.predict_train(ctx), ctx.targets))
            except ValueError as error:
                raise RunFailed(f"loss, at the start of epoch {ctx.epoch}: {error}") from error

    def batches(self, ctx: Context) -> Batches:
        """What the epoch trains on: by default all rows."""
        return ctx.training_batches()

    @abstractmethod
    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        """The loss of one training batch, or of a part of one."""

    def on_gradients(self, ctx: Context) -> None:
        """Called before each step of the optimiser: gradients are whole, the mean over the ranks, and clipped."""

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None:
        """Called after each step of the optimiser, with this rank's share of the batch and its output."""

    def on_epoch_end(self, ctx: Context) -> None:
        """Called after an epoch's last step. Raises: as `on_epoch_start`."""
        if isinstance(self.per_sample, StatefulLoss) and ctx.world.size > 1:
            self.per_sample.end_epoch(ctx.world.sum_)

    def predict(self, ctx: Context, input: Tensor) -> Tensor:
        """Logits [B, K] that the run is judged by: the mean over the networks."""
        if len(ctx.networks) == 1:
            return ctx.forward(input)
        return torch.stack([ctx.forward(input, number) for number in range(len(ctx.networks))]).mean(0)

    def predict_train(self, ctx: Context, network: int | None = None) -> Tensor:
        """Logits [N, K] of the training table in eval mode, un-augmented, the same on every rank.

        Args:
            network: its number in `Context.networks`; None: what the run is judged by, `predict`.
        """
        index, parts = [], []
        with ctx.side_pass("eval"):
            for batch in ctx.in_order():
                index.append(batch.index)
                parts.append(self.predict(ctx, batch.input) if network is None else ctx.forward(batch.input, network))
        found = torch.cat(parts)
        return ctx.world.sum_(found.new_zeros(ctx.num_train, ctx.num_classes).index_copy_(0, torch.cat(index), found))

    def sample_losses(self, logits: Tensor, batch: Batch, update: bool = True) -> Tensor:
        """The loss of each sample of a training batch, [B].

        Args:
            update: whether a StatefulLoss may learn from these logits; False in side passes and attacks.
        """
        if not isinstance(self.per_sample, StatefulLoss):
            return self.per_sample(logits, batch.target)
        if update:
            self.per_sample.update(logits.detach(), batch.index)
        return self.per_sample(logits, batch.target, batch.index)

    def trace(self) -> tuple[tuple[str, ...], Tensor] | None:
        """Names and values [n] logged after every step; the loop keeps the tensor, so never change it in place."""
        return None

    def logs(self) -> dict[str, float | Tensor]:
        """Values of an epoch: numbers go into its row of metrics.jsonl, tensors (small arrays) into a separate row."""
        return {}

    def sample_values(self) -> dict[str, Tensor]:
        """Values [N] per training sample after an epoch: a weight, a corrected label, whether it was chosen.

        By default those of a StatefulLoss. Under torchrun the main rank's are recorded.
        """
        loss = self.per_sample
        return loss.sample_values(self.observed) if isinstance(loss, StatefulLoss) else {}
