"""GJS: label and predictions of two views of a row are to be one distribution."""

from typing import ClassVar

import torch

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.losses.jensen_shannon import gjs
from lilawbench.methods.base import Loss, Method, StepOutput, only_ce
from lilawbench.methods.context import Context
from lilawbench.tasks import CLASSES

PI = 0.5


class GJS(Method):
    """Mean of the scaled generalised Jensen-Shannon divergence of the label and two views' predictions.

    Both views go through the network in one forward, which BatchNorm sees as one batch of twice the size. Where views
    are alike, as without train.augment, it is loss=js of the same pi.

    Args:
        loss: must be ce: the divergence takes its place. Of one view it is method=ce loss=js.
        pi: weight of the label, in (0, 1), see `losses.js`. The authors choose it by the true noise.
        view: "weak" | "strong", of images alone: how both views are drawn, see augment/views.py.
    Raises:
        ValueError: an option out of range, another loss.
    Source: Englesson & Azizpour 2021, section 3, M = 3. Deviations: the authors' strong view is RandAugment and Cutout,
        here it is train.strong_policy.
    """

    tasks: ClassVar[tuple[str, ...]] = CLASSES
    steps_differ = None

    def __init__(self, loss: Loss = ce, pi: float = PI, view: str = "weak"):
        super().__init__(only_ce(loss))
        if not 0 < pi < 1:
            raise ValueError(f"pi is {pi}; it must lie in (0, 1)")
        if view not in ("weak", "strong"):
            raise ValueError(f"view is {view!r}; it must be weak or strong")
        self.pi, self.view = pi, view
        self.views = (view, view)

    def told(self) -> list[str]:
        return [] if self.pi == PI else [f"method.pi={self.pi:g}"]

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        both = torch.cat([batch.input, batch.views[f"{self.view}2"]])
        first, second = ctx.forward(both).tensor_split(2)
        return StepOutput(gjs((first, second), batch.target, self.pi).mean(), first.detach())
