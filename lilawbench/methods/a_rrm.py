"""A-RRM: RRM whose training and re-weighting see inputs that FGSM has moved against the model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.at import adversary
from lilawbench.methods.base import Context, Loss
from lilawbench.methods.rrm import RRM


class ARRM(RRM):
    """Adversarial Rockafellian relaxation: x <- x + eps sign(grad_x l) on the unweighted loss before each step and in
    each sweep.

    Args:
        fgsm: options of `at.Adversary`: eps, clip, mode, space.
        options: of `RRM`.
    Source: RRM, Algorithms 1-3 with eps > 0. Deviations: none that is not an option.
    """

    perturbs_inputs = True

    def __init__(
        self,
        fgsm: Mapping[str, Any] | None = None,
        gamma: float | None = 2.0,
        mu: float = 0.5,
        contamination: float | None = None,
        penalty_scale: float = 0.5,
        reweight_every_epochs: int = 10,
        reweight_losses: str = "sweep",
        loss_scale: str = "mean",
        loss: Loss = ce,
    ):
        super().__init__(
            gamma, mu, contamination, penalty_scale, reweight_every_epochs, reweight_losses, loss_scale, loss
        )
        self.adversary = adversary(fgsm)
        self.steps_differ = self.adversary.steps_differ
        self._perturbed: Tensor | None = None

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.adversary.check(ctx)

    def before_step(self, ctx: Context, batch: Batch) -> None:
        super().before_step(ctx, batch)
        self._perturbed = self.adversary.perturb(self, ctx, batch)

    def training_input(self, batch: Batch) -> Tensor:
        input = batch.input if self._perturbed is None else self._perturbed
        self._perturbed = None
        return input

    def sweep_input(self, ctx: Context, batch: Batch) -> Tensor:
        return self.adversary.perturb(self, ctx, batch)
