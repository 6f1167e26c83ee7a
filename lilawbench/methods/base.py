"""The one abstraction of the package: a Method turns a batch into a loss and may act between steps.

The loop (engine/loop.py) knows nothing else about a method:

    for epoch:
        method.on_epoch_start(ctx)
        for batch:
            method.before_step(ctx, batch)
            out = method.loss(ctx.forward, batch);  out.loss.backward();  optimizer.step()
            method.after_step(ctx, batch, out)
        method.on_epoch_end(ctx)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lilawbench.data.base import Batch

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
    sweep: Callable[[], Iterator[Batch]]  # the training set in order, un-augmented
    meta: Callable[[int], Batch] | None  # a fresh random validation batch of that size
    num_train: int
    num_classes: int
    device: torch.device
    epoch: int = 0  # from 1
    step: int = 0  # finished training steps of the whole run

    def __post_init__(self) -> None:
        self._modules = list(self.model.modules())

    def _set_modes(self, training: list[bool]) -> None:
        """As `module.training = ...`, past nn.Module's slow attributes: this runs twice in every meta step."""
        for module, mode in zip(self._modules, training, strict=True):
            module.__dict__["training"] = mode

    @contextmanager
    def side_pass(self, mode: str = "eval") -> Iterator[None]:
        """Makes a second forward safe: without graph, and without a trace in the model or the random stream.

        Args:
            mode: how BatchNorm and dropout behave inside. "eval" switches every module; "train" leaves each as
                it is, restores buffers and forks the global random stream: even a no_grad forward moves both.
        """
        if mode == "eval":
            modes = [module.training for module in self._modules]
            self._set_modes([False] * len(modes))
            try:
                with torch.no_grad():
                    yield
            finally:
                self._set_modes(modes)
            return
        kept = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices), torch.no_grad():
                yield
        finally:
            for buffer, value in kept:
                buffer.data.copy_(value)  # past autograd's version counter: a pending backward may hold the buffer


class Method(nn.Module, ABC):
    """A training rule. It never holds the model; its state_dict is its whole state and goes into the checkpoint."""

    uses_meta: ClassVar[bool] = False

    def setup(self, ctx: Context) -> None:
        """Called once, with the model built and before a checkpoint is loaded: allocate state of size N here."""

    def on_epoch_start(self, ctx: Context) -> None: ...

    def before_step(self, ctx: Context, batch: Batch) -> None: ...

    @abstractmethod
    def loss(self, forward: Forward, batch: Batch) -> StepOutput:
        """The loss of one training batch."""

    def after_step(self, ctx: Context, batch: Batch, out: StepOutput) -> None: ...

    def on_epoch_end(self, ctx: Context) -> None: ...

    def trace(self) -> tuple[tuple[str, ...], Tensor] | None:
        """Names and values [n] logged after every step; the loop keeps the tensor, so never change it in place."""
        return None
