"""Plain training on the observed labels: the mean of a per-sample loss. method=ce and method=focal are this."""

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context


class Supervised(Method):
    """Empirical risk minimisation, mean_i l(f(x_i), y_i): the baseline to beat.

    Args:
        loss: per-sample loss, ([B, K], [B]) -> [B].
    """

    steps_differ = None

    def __init__(self, loss: Loss = ce):
        super().__init__(loss)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = ctx.forward(batch.input)
        return StepOutput(self.sample_losses(logits, batch).mean(), logits.detach())
