"""How much work training is, as a number that no machine changes: rows that went through networks."""

from functools import partial

from torch import Tensor

BACKWARD = 2  # forward passes that a backward pass stands for: gradients of the weights, and of what they multiplied


class Passes:
    """Forward passes of one row so far; a backward pass counts as two. Numbers of the host, so that nothing waits."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, rows: int) -> None:
        self.total += rows

    def through(self, logits: Tensor) -> Tensor:
        """Counts the forward that made logits [B, K], and each backward that comes to pass through it. Returns them."""
        self.total += len(logits)
        if logits.grad_fn is not None:
            logits.grad_fn.register_prehook(partial(self._backward, BACKWARD * len(logits)))
        return logits

    def _backward(self, rows: int, gradients: tuple[Tensor, ...]) -> None:
        self.total += rows
