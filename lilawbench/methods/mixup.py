"""mixup: training on convex combinations of two rows, with the same combination of their losses."""

from typing import ClassVar

from lilawbench.loading.batch import Batch
from lilawbench.losses import StatefulLoss, ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.parts.mixing import Mixer
from lilawbench.support.errors import ConfigError
from lilawbench.tasks import CLASSES


class Mixup(Method):
    """lam l(f(x~), y) + (1 - lam) l(f(x~), y') with x~ = lam x + (1 - lam) x', one lam ~ Beta(alpha, alpha) a batch.

    x', y' are the batch's own rows in a random order; under torchrun and with train.accumulate_steps, those of the
    process's share or the part. Logits recorded of training are of the mixed inputs.

    Args:
        loss: per-sample loss; one that remembers rows (ELR) is refused: a mixed row has no past.
        alpha: > 0; towards 0 it is plain training.
    Raises:
        ValueError: alpha out of range.
    Source: Zhang et al. 2018, section 2 (alpha 1 on CIFAR; section 3.4, on noisy labels, 8 and 32). Deviations: none.
    """

    tasks: ClassVar[tuple[str, ...]] = CLASSES
    perturbs_inputs = True
    steps_differ = "each step draws how rows are mixed"

    def __init__(self, loss: Loss = ce, alpha: float = 1.0):
        super().__init__(loss)
        self.mixer = Mixer(alpha)

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        kind = type(self.per_sample)
        if issubclass(kind, StatefulLoss) and kind.update is not StatefulLoss.update:
            problem = f"method=mixup: {kind.__name__} remembers each row's predictions, and a mixed row has no past"
            raise ConfigError([f"{problem}; take a loss without such a memory"])

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        self.mixer.start(ctx)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        mix = self.mixer(len(batch.index), batch.input.device)
        logits = ctx.forward(mix(batch.input))
        own = self.sample_losses(logits, batch)
        partner = self.sample_losses(logits, batch._replace(target=batch.target[mix.partner]))
        return StepOutput((mix.share * own + (1 - mix.share) * partner).mean(), logits.detach())
