"""Numbers that a method learns by gradient descent beside the network, such as one for each sample."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.optim import Optimizer

from lilawbench.methods.context import Context
from lilawbench.support.plain import State


class OwnOptimizer(nn.Module):
    """A module that has an optimiser, whose state goes where the weights go; None: it learns nothing."""

    optimizer: Optimizer | None

    def step(self) -> None:
        """One step down the gradients that are there; they are gone after it."""
        if self.optimizer is not None:
            self.optimizer.step()
        for p in self.parameters():
            p.grad = None

    def get_extra_state(self) -> State:
        return {} if self.optimizer is None else self.optimizer.state_dict()

    def set_extra_state(self, state: State) -> None:
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state)


class Learned(OwnOptimizer):
    """Parameters with their own optimiser, whose state is part of the method's.

    A loss that uses them gives them gradients; call `descend` in after_step.

    Args:
        optimizer: makes an optimiser from the parameters. values: where they start, on the run's device, by name.
    """

    optimizer: Optimizer

    def __init__(self, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer], **values: Tensor):
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, nn.Parameter(value))
        self.optimizer = optimizer(self.parameters())

    def descend(self, ctx: Context) -> None:
        """One step down the gradients of the batch's mean loss, the same on all ranks."""
        ctx.world.mean_([p.grad for p in self.parameters() if p.grad is not None], ctx.share)
        self.step()
