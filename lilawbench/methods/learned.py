"""Numbers that a method learns by gradient descent beside the network, such as some for each sample."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lilawbench.methods.context import Context


class Learned(nn.Module):
    """Parameters with an optimiser of their own, whose state is a part of the method's.

    A loss that uses them gives them gradients; `descend` in after_step makes the step.

    Args:
        optimizer: what makes one of the parameters. values: where they start, on the run's device, by name.
    """

    def __init__(self, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer], **values: Tensor):
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, nn.Parameter(value))
        self.optimizer = optimizer(self.parameters())

    def descend(self, ctx: Context) -> None:
        """One step down the gradients of the batch's mean loss, the same on all ranks."""
        ctx.world.mean_([p.grad for p in self.parameters() if p.grad is not None], ctx.share)
        self.optimizer.step()
        for p in self.parameters():
            p.grad = None

    def get_extra_state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
