"""A look-ahead on the real step's own forward, for as long as that is exact."""

import logging
from collections.abc import Callable

from torch import Tensor

from lilawbench.methods.parts.lookahead import ForwardNotRepeatable

log = logging.getLogger("lilawbench")


class OwnForward:
    """Calls a look-ahead (`functools.partial` of `hypergradient`) with the logits of the step, or without them.

    Args:
        method: its name, for the log. wanted: False: never with them.
    """

    def __init__(self, method: str, wanted: bool = True):
        self.method, self.wanted = method, wanted
        self.verify = True

    def start_epoch(self) -> None:
        """The first look-ahead of an epoch asks whether the forward can be repeated."""
        self.verify = True

    def __call__(self, look: Callable[..., list[Tensor]], logits: Tensor) -> list[Tensor]:
        """The gradients that `look` gives; after it has refused the logits once, it makes a forward of its own."""
        verify, self.verify = self.verify, False
        if self.wanted:
            try:
                return look(logits=logits, verify=verify)
            except ForwardNotRepeatable as reason:
                log.info("%s looks ahead on its own forward from now on: %s", self.method, reason)
                self.wanted = False
        return look()
