"""A-RRM: RRM that trains and re-weights on inputs attacked by FGSM."""

from torch import Tensor

from lilawbench.loading.batch import Batch
from lilawbench.methods.at import FGSMOptions, adversary
from lilawbench.methods.context import Context
from lilawbench.methods.rrm import RRM
from lilawbench.support.plain import Tree


class ARRM(RRM):
    """Adversarial Rockafellian relaxation: x <- x + eps sign(grad_x l), of the unweighted loss, before each step and in
    each re-weighting pass over the training set.

    Args:
        fgsm: options of `at.Adversary`: eps, clip, mode, space.
        gamma, options: of `RRM`.
    Source: RRM, Algorithms 1-3 with eps > 0. Deviations: none that is not an option.
    """

    perturbs_inputs = True

    def __init__(self, fgsm: FGSMOptions | None = None, gamma: float | None = 2.0, **options: Tree):
        super().__init__(gamma=gamma, **options)
        self.adversary = adversary(fgsm)
        self.steps_differ = self.adversary.steps_differ

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.adversary.check(ctx)

    def seen(self, ctx: Context, batch: Batch) -> Tensor:
        return self.adversary.perturb(self, ctx, batch)
