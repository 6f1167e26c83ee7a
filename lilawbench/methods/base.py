"""The one abstraction of the package: a Method turns a batch into a loss and may act between steps.

The loop (engine/loop.py) knows nothing else about a method:

    for epoch:
        method.on_epoch_start(ctx)
        for batch of method.training_rows():
            for part of batch:  # train.accumulate_steps of them: one, the whole batch, unless asked otherwise
                method.before_step(ctx, part)
                out = method.loss(ctx.forward, part);  out.loss.backward()
            optimizer.step()
            method.after_step(ctx, batch, out)
        method.on_epoch_end(ctx)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lilawbench.loading.batch import Batch
from lilawbench.losses import StatefulLoss
from lilawbench.methods.fgsm import Pixels
from lilawbench.models.finetune import follows_train
from lilawbench.models.recurrent import backward_in_eval, recurrent_layers
from lilawbench.support.distributed import World
from lilawbench.support.errors import ConfigError, RunFailed
from lilawbench.support.side_stream import SideStream
from lilawbench.tasks import ALL

Forward = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class StepOutput(NamedTuple):
    """What a method returns for a training batch."""

    loss: Tensor  # [] to back-propagate
    logits: Tensor  # [B, K] detached
    weight: Tensor | None = None  # [B] detached, where the method weights samples


@dataclass
class Context:
    """What a method may know. No config, no noise rate, no clean label, no test data."""

    model: nn.Module
    forward: Forward  # inputs [B, ...] -> logits [B, K] float32, under the run's autocast
    optimizer: torch.optim.Optimizer
    sweep: Callable[[], Iterator[Batch]]  # the training set in order, un-augmented; this rank's share of it
    meta: Callable[[int], Batch] | None  # a fresh random validation batch of that size
    num_train: int
    num_classes: int
    device: torch.device
    full_batch_size: int  # train.batch_size; an epoch's last batch may be smaller, or one row larger
    fetch: Callable[[Tensor], Batch] | None = None  # any rows [n] of the training table, un-augmented
    targets: Tensor | None = None  # [N] (or [N, K]) observed labels of the training table
    seed: int = 0  # for random streams of the method's own: derive_torch(ctx.seed, purpose, ctx.epoch)
    pixels: Pixels | None = None  # of images
    target_range: float | None = None  # of regression: the range of the true targets, as the field knows it
    clip_grad_norm: float | None = None
    accumulate_steps: int = 1  # parts of a batch, each with a forward and a backward of its own
    autocast: Callable[[], AbstractContextManager] = nullcontext  # what `forward` runs under
    world: World = field(default_factory=World)
    beside: SideStream | None = None  # what runs beside training; None: on the CPU, and where forwards cannot be moved
    epoch: int = 0  # from 1
    step: int = 0  # finished training steps of the whole run
    batch_size: int = 0  # rows of the current global batch
    share: float = 1.0  # this rank's weight in a mean over it

    def __post_init__(self) -> None:
        self._modules = [module for module in self.model.modules() if follows_train(module)]
        self._recurrent = recurrent_layers(self.model)

    def _set_modes(self, training: list[bool]) -> None:
        """As `module.training = ...`, past nn.Module's slow attributes: this runs twice in every meta step."""
        for module, mode in zip(self._modules, training, strict=True):
            module.__dict__["training"] = mode

    @contextmanager
    def side_pass(self, mode: str = "eval", grad: bool = False) -> Iterator[None]:
        """Makes a second forward safe: without a trace in the model or the random stream.

        Args:
            mode: how BatchNorm and dropout behave inside. "eval" switches every module; "train" leaves each as
                it is, restores buffers and forks the global random stream: even a no_grad forward moves both.
            grad: True keeps a graph, for gradients taken inside, with kernels that have a backward in either mode.
        """
        if mode == "eval":
            modes = [module.training for module in self._modules]
            self._set_modes([False] * len(modes))
            try:
                with torch.set_grad_enabled(grad), self._kernels(grad):
                    yield
            finally:
                self._set_modes(modes)
            return
        kept = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices), torch.set_grad_enabled(grad), self._kernels(grad):
                yield
        finally:
            for buffer, value in kept:
                buffer.data.copy_(value)  # past autograd's version counter: a pending backward may hold the buffer

    def _kernels(self, grad: bool) -> AbstractContextManager:
        return backward_in_eval(self._recurrent, self.device) if grad else nullcontext()


class Method(nn.Module, ABC):
    """A training rule. It never holds the model; its state_dict is its whole state and goes into the checkpoint.

    Args:
        loss: per-sample loss, ([B, K], [B]) -> [B]; a StatefulLoss is part of the method's state.
    """

    uses_meta: ClassVar[bool] = False
    splits_batches: ClassVar[bool] = True  # whether the loss of a batch is the mean of those of its parts
    perturbs_inputs: ClassVar[bool] = False  # trains or sweeps on other inputs than the data's
    tasks: ClassVar[tuple[str, ...]] = ALL  # that it is for, see tasks.py; the loss says the same of itself
    # Why two steps on whole batches may differ in what they do, not only in values: no CUDA graph can stand for both.
    # None: they never do while `warming_up` stays as it is, and keep what changes in buffers.
    steps_differ: str | None = "it does not say that its steps are all alike"
    warming_up: bool = False

    def __init__(self, loss: Loss):
        super().__init__()
        self.per_sample = loss

    def against_graphs(self) -> str | None:
        """Why no CUDA graph can stand for the steps; None: one can."""
        if isinstance(self.per_sample, StatefulLoss):
            return f"{type(self.per_sample).__name__} changes what it does from epoch to epoch"
        return self.steps_differ

    def setup(self, ctx: Context) -> None:
        """Called once, with the model built and before a checkpoint is loaded: allocate state of size N here.

        Raises:
            ConfigError: the method's options do not fit these data.
        """
        if isinstance(self.per_sample, StatefulLoss):
            try:
                self.per_sample.setup(ctx.num_train, ctx.num_classes, ctx.device)
            except ValueError as error:
                raise ConfigError([f"loss: {error}"]) from error

    def on_epoch_start(self, ctx: Context) -> None:
        if isinstance(self.per_sample, StatefulLoss):
            try:
                self.per_sample.start_epoch(ctx.epoch, lambda: (predict_train(ctx), ctx.targets))
            except ValueError as error:
                raise RunFailed(f"loss, at the start of epoch {ctx.epoch}: {error}") from error

    def training_rows(self) -> Tensor | None:
        """Mask [N] of the rows that train in this epoch; None: all."""
        return None

    def before_step(self, ctx: Context, batch: Batch) -> None:
        """Called before each forward of a step, with the rows that `loss` is given next."""

    @abstractmethod
    def loss(self, forward: Forward, batch: Batch) -> StepOutput:
        """The loss of one training batch."""

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None: ...

    def on_epoch_end(self, ctx: Context) -> None:
        if isinstance(self.per_sample, StatefulLoss) and ctx.world.size > 1:
            self.per_sample.end_epoch(ctx.world.sum_)

    def sample_losses(self, logits: Tensor, batch: Batch, update: bool = True) -> Tensor:
        """The loss of each sample of a training batch, [B].

        Args:
            update: whether a StatefulLoss may learn from these logits; False in sweeps and attacks.
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
        """What an epoch came to: numbers go into the epoch's row, tensors (small tables) into a row of their own."""
        return {}

    def sample_values(self) -> dict[str, Tensor]:
        """Values [N] per training sample after an epoch, which metrics/per_sample.py crosses with the clean labels."""
        return {}


def predict_train(ctx: Context) -> Tensor:
    """Logits [N, K] of the training table in eval mode, un-augmented, the same on every rank."""
    index, parts = [], []
    with ctx.side_pass("eval"):
        for batch in ctx.sweep():
            index.append(batch.index)
            parts.append(ctx.forward(batch.input))
    swept = torch.cat(parts)
    return ctx.world.sum_(swept.new_zeros(ctx.num_train, ctx.num_classes).index_copy_(0, torch.cat(index), swept))
