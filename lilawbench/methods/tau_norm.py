"""tau-normalisation: plain training, and a classifier whose weights are evened out when it predicts."""

import math

import torch
from torch import Tensor, nn

from lilawbench.losses import ce
from lilawbench.methods.base import Loss
from lilawbench.methods.context import Context
from lilawbench.methods.supervised import Supervised
from lilawbench.models.cosine import last_layer
from lilawbench.support.errors import ConfigError
from lilawbench.tasks import CLASSES


class TauNorm(Supervised):
    """Predicts with w_k / ||w_k||^tau in place of the head's w_k; training is that of method=ce, to the bit.

    On long tails the weights of frequent classes grow longer than those of rare ones, which is taken back here.

    Args:
        loss: per-sample loss.
        tau: >= 0: 0 is the head as it is, 1 gives all classes weights of one length. The paper takes the best on
            validation rows, within [0, 1].
        bias: keep the head's bias. The paper leaves it out.
    Raises:
        ValueError: tau out of range.
    Source: Kang et al. 2020, eq. 2. Deviations: none.
    """

    tasks = CLASSES

    def __init__(self, loss: Loss = ce, tau: float = 1.0, bias: bool = False):
        super().__init__(loss)
        if not 0 <= tau < math.inf:
            raise ValueError(f"tau is {tau}; it must be >= 0 and finite")
        self.tau, self.bias = tau, bias

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        return [*found, "never normalised: method.tau is 0"] if self.tau == 0 and self.bias else found

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        if not isinstance(head := last_layer(ctx.model), nn.Linear):
            of = f"the network's last layer is a {type(head).__name__}"
            raise ConfigError([f"method=tau_norm divides the weights of a dense head (nn.Linear); {of}"])

    def predict(self, ctx: Context, input: Tensor) -> Tensor:
        """Logits [B, K] of the normalised head: those of the plain one, less its bias, over ||w_k||^tau."""
        logits, head = ctx.forward(input), last_layer(ctx.model)
        weight = head.get_parameter("weight").detach().to(logits.dtype)
        shift = torch.zeros_like(weight[:, 0]) if head.bias is None else head.get_parameter("bias").detach()
        length = weight.norm(dim=1).clamp(min=torch.finfo(weight.dtype).tiny) ** self.tau
        normalised = (logits - shift) / length
        return normalised + shift if self.bias else normalised
