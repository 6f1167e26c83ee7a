"""A moving average of a network's weights: the teacher of a method that learns from one."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lilawbench.methods.context import Context
from lilawbench.models.finetune import follows_train


class Averaged(nn.Module):
    """w <- decay w + (1 - decay) w_network. As a part of a method it is in the checkpoint; it holds no network.

    Buffers, such as BatchNorm's statistics, are averaged too; integer ones, such as its step count, are copied. Frozen
    weights are the network's own.

    Args:
        decay: in [0, 1). network: its number in `Context.networks`.
        at: the decay of each step, by the number of finished steps of the run, in [0, 1]; None: `decay`.
    Raises:
        ValueError: decay out of range.
    Source: Tarvainen and Valpola 2017, section 2.
    """

    def __init__(self, decay: float, network: int = 0, at: Callable[[int], float] | None = None):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; it must lie in [0, 1)")
        self.decay, self.network, self.at = decay, network, at
        self.names: list[str] = []

    def setup(self, ctx: Context) -> None:
        """Starts from the network's present weights."""
        named = self._followed(ctx)
        self.names = list(named)
        for number, value in enumerate(named.values()):
            self.register_buffer(f"w{number}", value.detach().clone())

    @torch.no_grad()
    def update(self, ctx: Context) -> None:
        """To be called after each step of the network."""
        decay = self.decay if self.at is None else self.at(ctx.step)
        pairs = list(zip(self.weights(), self._followed(ctx).values(), strict=True))
        floating = [(mine, its) for mine, its in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floating], [its.detach() for _, its in floating], 1 - decay)
        for mine, its in pairs:
            if not mine.is_floating_point():
                mine.copy_(its)

    def weights(self) -> list[Tensor]:
        """The averages, in the order of the network's parameters and buffers."""
        return [self.get_buffer(f"w{number}") for number in range(len(self.names))]

    def forward(self, ctx: Context, input: Tensor) -> Tensor:
        """Logits [B, K] float32 of inputs [B, ...], in the network's mode; call it inside `ctx.side_pass()`."""
        with ctx.autocast():
            values = dict(zip(self.names, self.weights(), strict=True))
            logits = torch.func.functional_call(ctx.networks[self.network], values, (input,))
        return ctx.passes.through(logits.float())

    def _followed(self, ctx: Context) -> dict[str, Tensor]:
        """Trained parameters, and the buffers that training changes."""
        network = ctx.networks[self.network]
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        return trained | {
            f"{prefix}.{name}" if prefix else name: buffer
            for prefix, module in network.named_modules()
            if follows_train(module)
            for name, buffer in module.named_buffers(recurse=False)
        }
