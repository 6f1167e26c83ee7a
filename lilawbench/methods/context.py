"""What a method may know of a run, and may do with its networks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import Batches, TrainLoader
from lilawbench.loading.rows import Rows
from lilawbench.methods.parts.fgsm import Pixels
from lilawbench.methods.parts.lookahead import Network
from lilawbench.models.finetune import follows_train
from lilawbench.models.recurrent import backward_in_eval, recurrent_layers
from lilawbench.support import host
from lilawbench.support.distributed import World
from lilawbench.support.errors import PartError
from lilawbench.support.passes import Passes
from lilawbench.support.side_stream import SideStream

Forward = Callable[[Tensor], Tensor]


def no_meta_batches(size: int) -> Batch:
    """`Context.meta` of a run without validation rows."""
    raise PartError("ctx.meta: there are no validation rows; a method that needs them says uses_meta = True")


@dataclass
class Context:
    """No config, no noise rate, no clean label, no test data. `engine.context.make_context` makes one."""

    networks: tuple[nn.Module, ...]  # copies of the model, seeded each for itself; most methods have one
    forwards: tuple[Forward, ...]  # of each: inputs [B, ...] -> logits [B, K] float32, under the run's autocast
    optimizer: torch.optim.Optimizer  # of all networks
    table: Rows  # the training rows, with their observed labels
    loader: TrainLoader  # of their batches
    meta: Callable[[int], Batch]  # a fresh random validation batch of that size
    num_classes: int  # outputs of a network
    seed: int = 0  # for random streams of the method's own: derive_torch(ctx.seed, purpose, ctx.epoch)
    views: tuple[str, ...] = ("weak",)  # that the method asked for
    pixels: Pixels | None = None  # of images
    target_range: float | None = None  # of regression: the range of the true targets, as the field knows it
    clip_grad_norm: float | None = None  # of each network
    accumulate_steps: int = 1  # parts of a batch, each with its own forward and backward
    autocast: Callable[[], AbstractContextManager] = nullcontext  # what `forward` runs under
    world: World = field(default_factory=World)
    beside: SideStream | None = None  # for work beside training; None: on the CPU, and where forwards cannot be moved
    epoch: int = 0  # from 1
    step: int = 0  # finished training steps of the whole run
    batch_size: int = 0  # rows of the current global batch
    share: float = 1.0  # this rank's weight in a mean over it
    passes: Passes = field(default_factory=Passes)  # what the networks did so far, for the cost of the run
    unchecked: bool = True  # whether the loop has yet to look at the form of an output in this epoch

    def __post_init__(self) -> None:
        self._modules = [m for network in self.networks for m in network.modules() if follows_train(m)]
        self._recurrent = [layer for network in self.networks for layer in recurrent_layers(network)]
        self._functions: dict[int, tuple[int, Network]] = {}
        self._passes = (0, 0)  # an epoch, and the passes over its rows before this one

    @property
    def model(self) -> nn.Module:
        """The first network, and most often the only one."""
        return self.networks[0]

    @property
    def num_train(self) -> int:
        return len(self.table)

    @property
    def targets(self) -> Tensor:
        """Observed labels of the training table, [N] or [N, K]."""
        return self.table.target

    @property
    def device(self) -> torch.device:
        return self.table.device

    @property
    def full_batch_size(self) -> int:
        """train.batch_size; an epoch's last batch may be smaller, or one row larger."""
        return self.loader.batch_size

    def forward(self, input: Tensor, network: int = 0) -> Tensor:
        """Logits [B, K] float32 of inputs [B, ...], in the mode that the network is in."""
        return self.passes.through(self.forwards[network](input))

    def training_batches(
        self, rows: Tensor | None = None, batch_size: int | None = None, views: Sequence[str] | None = None
    ) -> Batches:
        """One pass over training rows, shuffled and augmented, for all ranks: the loop gives each its share.

        Args:
            rows: mask [N] of those that take part; None: all. batch_size: None: `full_batch_size`.
            views: None: those that the method asked for.
        """
        if rows is not None and (rows.dtype != torch.bool or rows.shape != (self.num_train,)):
            given, rule = f"{rows.dtype} {list(rows.shape)}", f"a mask, torch.bool [{self.num_train}]"
            raise PartError(f"training_batches(rows): rows is {given}; it must be {rule}")
        epoch, again = self._passes
        again = again + 1 if epoch == self.epoch else 0
        self._passes = self.epoch, again
        mask = None if rows is None else host.bring(rows, "rows that train")
        return self.loader.epoch(self.epoch, mask, batch_size, views or self.views, again)

    def in_order(self) -> Iterator[Batch]:
        """The training table in order, un-augmented; this rank's share of it."""
        return self.table.in_order(world=self.world)

    def fetch(self, rows: Tensor) -> Batch:
        """Any rows [n] of the training table, un-augmented."""
        return self.table.batch(rows)

    def functional(self, network: int = 0) -> Network:
        """A network as a function of its weights; a new one each epoch."""
        kept = self._functions.get(network)
        if kept is None or kept[0] != self.epoch:
            kept = self._functions[network] = self.epoch, Network(self.networks[network], self.autocast, self.passes)
        return kept[1]

    def descend(
        self,
        loss: Tensor | None = None,
        *,
        share: float | None = None,
        also: Sequence[Tensor] = (),
        on_gradients: Callable[["Context"], None] | None = None,
    ) -> None:
        """One step of the optimiser down the gradient of a mean loss; ranks take it together.

        A network that the loss does not use has no gradient and stays as it is.

        Args:
            loss: [] with its graph; None: the gradients are there already.
            share: this rank's weight in the mean; None: that in the current batch.
            also: tensors to be replaced by their mean over the ranks, in the same message.
            on_gradients: called before the step, with the gradients as the step takes them.
        """
        if loss is not None:
            loss.backward()
        if self.world.size > 1:
            gradients = [p.grad for network in self.networks for p in network.parameters() if p.grad is not None]
            self.world.mean_([*gradients, *also], self.share if share is None else share)
            buffers = [b for network in self.networks for b in network.buffers() if b.is_floating_point()]
            self.world.copy_from_main_(buffers)  # of BatchNorm
        if self.clip_grad_norm is not None:
            for network in self.networks:
                nn.utils.clip_grad_norm_(network.parameters(), self.clip_grad_norm)
        if on_gradients is not None:
            on_gradients(self)
        self.optimizer.step()
        # Freed here, so that a meta step finds the memory free and warm. optimizer.zero_grad takes 20 us more, 3 % of a
        # step of a head on cached features.
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                p.grad = None

    def _set_modes(self, training: Sequence[bool]) -> None:
        """As `module.training = ...` without nn.Module's slow __setattr__: this runs twice in every meta step."""
        for module, mode in zip(self._modules, training, strict=True):
            module.__dict__["training"] = mode

    @contextmanager
    def side_pass(self, mode: str = "eval", grad: bool = False) -> Iterator[None]:
        """Makes a second forward safe: it leaves no trace in the networks or the random stream.

        Args:
            mode: of BatchNorm and dropout inside. "eval" switches every module; "train" leaves each as it is, restores
                buffers and forks the global random stream: even a no_grad forward changes both.
            grad: True keeps a graph, for gradients taken inside, with kernels that have a backward in both modes.
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
        kept = [(buffer, buffer.clone()) for network in self.networks for buffer in network.buffers()]
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices), torch.set_grad_enabled(grad), self._kernels(grad):
                yield
        finally:
            for buffer, value in kept:
                buffer.data.copy_(value)  # past autograd's version counter: a pending backward may hold the buffer

    def _kernels(self, grad: bool) -> AbstractContextManager:
        return backward_in_eval(self._recurrent, self.device) if grad else nullcontext()
