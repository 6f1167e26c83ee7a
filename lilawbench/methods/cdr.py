"""CDR: each step moves only the weights that matter most to it; weight decay shrinks the rest."""

import torch
from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.metrics.mixture import high_loss
from lilawbench.support import host
from lilawbench.tasks import CLASSES


def keep_critical_(gradients: list[Tensor], weights: list[Tensor], rate: float) -> None:
    """Sets all but the largest 1 - rate of |g w| to zero in g, over all tensors, and multiplies those by 1 - rate.

    Args:
        gradients, weights: g and w, tensors of the same shapes; g is changed in place.
        rate: in [0, 1); at least one gradient is kept, and more where they tie at the limit.
    Source: Xia et al. 2021, section 3.2.
    """
    scores = [(g * w).abs() for g, w in zip(gradients, weights)]
    whole = torch.cat([score.flatten() for score in scores])
    count = max(1, int((1 - rate) * len(whole)))
    limit = whole.topk(count, sorted=False).values.amin()
    for g, score in zip(gradients, scores):
        g.mul_((score >= limit).to(g.dtype) * (1 - rate))


class CDR(Method):
    """Robust early-learning: weights that are critical to a batch's loss are trained, the others only decay.

    Of the tensors with two or four dimensions (dense and convolution weights) a step keeps the share 1 - rate of the
    gradients that is largest by |g w|, over the whole network, times 1 - rate. Biases and norms train as usual.
    train.weight_decay acts on all weights, which is what the others are left to: the paper needs it.

    Args:
        loss: per-sample loss.
        rate: the share of labels that is wrong, in [0, 1); "estimate": by a mixture of two Gaussians over the rows'
            losses, at the start of each epoch, which costs a pass over them (`metrics.mixture`).
        warmup_epochs: of plain training before the first estimate, >= 1; of a given rate there are none.
    Raises:
        ValueError: an option out of range.
    Source: Xia et al. 2021, Algorithm 1. Deviations: weight decay is train's (of squares; the paper's is of absolute
        values, its code's as here). The code computes a schedule of the rate, then overwrites it: there is none here.
    """

    tasks = CLASSES
    idle = "never masked"
    steps_differ = "how many gradients it keeps changes from epoch to epoch"

    def __init__(self, loss: Loss = ce, rate: float | str = "estimate", warmup_epochs: int = 5):
        super().__init__(loss)
        if isinstance(rate, str) and rate != "estimate":
            raise ValueError(f"rate is {rate!r}; it must be estimate or a number in [0, 1)")
        if not isinstance(rate, str) and not 0 <= rate < 1:
            raise ValueError(f"rate is {rate}; it must lie in [0, 1), or be estimate")
        if not isinstance(warmup_epochs, int) or warmup_epochs < 1:
            raise ValueError(f"warmup_epochs is {warmup_epochs}; it must be a whole number >= 1")
        self.given = None if isinstance(rate, str) else float(rate)
        self.warmup_epochs = warmup_epochs if self.given is None else 0
        self.rate = 0.0  # of this epoch

    def told(self) -> list[str]:
        return [] if self.given is None else [f"method.rate={self.given:g}"]

    def never_acts(self, epochs: int, steps: int) -> list[str]:
        found = super().never_acts(epochs, steps)
        return [*found, f"{self.idle}: method.rate is 0"] if self.given == 0 else found

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.warming_up = ctx.epoch <= self.warmup_epochs
        if self.given is not None:
            self.rate = self.given
        elif not self.warming_up:
            losses = host.bring(self.per_sample(self.predict_train(ctx), ctx.targets), "losses to divide")
            self.rate = float((high_loss(losses) > 0.5).double().mean())

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        logits = ctx.forward(batch.input)
        return StepOutput(self.sample_losses(logits, batch).mean(), logits.detach())

    @torch.no_grad()
    def on_gradients(self, ctx: Context) -> None:
        if self.rate == 0:
            return
        pairs = [(p.grad, p) for p in ctx.model.parameters() if p.grad is not None and p.ndim in (2, 4)]
        if pairs:
            keep_critical_([grad for grad, _ in pairs], [p for _, p in pairs], self.rate)

    def logs(self) -> dict[str, float | Tensor]:
        """rate: the share of gradients that is left out in this epoch."""
        return {"rate": self.rate}
