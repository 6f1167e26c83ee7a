"""What an attack does to the predictions for the test rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.loading.batch import Batch
from lilawbench.loading.rows import Rows
from lilawbench.losses import bce, ce, squared
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.methods.parts.fgsm import fgsm
from lilawbench.metrics.measure import headline
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.probes.best import BestSoFar
from lilawbench.support import host
from lilawbench.support.plain import State


class Attack(Probe):
    """The task's measure under FGSM of each size, at the epochs that `last` or `best_val` may report: attacks cost more
    than an epoch of a small net.

    Args:
        eps, sign, clip, space: see `predict_attacked`. every_epoch: at all epochs, where the run may end after any.
    """

    def __init__(
        self,
        eps: Sequence[float],
        sign: bool = True,
        clip: Sequence[float] | None = None,
        space: str = "input",
        every_epoch: bool = False,
    ):
        self.eps, self.sign, self.clip, self.space = list(eps), sign, clip, space
        self.every_epoch, self.best = every_epoch, BestSoFar()

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        scene, best = self.scene, self.best.see(self.scene.task, predictions)
        if not ctx.world.agree(best or self.every_epoch or epoch.number == scene.epochs):
            return {}
        attacked = predict_attacked(ctx, scene.method, scene.test, self.eps, self.sign, self.clip, self.space)
        attacked, measure = host.bring(attacked, "attacked logits to measure"), scene.task.measure
        return {
            f"test_attacked_{eps:g}_{measure}": headline(logits, scene.test_target)
            for eps, logits in zip(self.eps, attacked, strict=True)
        }

    def state_dict(self) -> State:
        return {"rank": self.best.rank}

    def load_state_dict(self, state: State) -> None:
        self.best.rank = state["rank"]


def predict_attacked(
    ctx: Context,
    method: Method,
    data: Rows,
    eps: Sequence[float],
    sign: bool = True,
    clip: Sequence[float] | None = None,
    space: str = "input",
) -> Tensor:
    """Logits [E, N, K] after FGSM of each eps on the plain loss for the split's labels: cross-entropy, bce or squared.

    Args:
        eps, sign, clip: see `fgsm`. space: "input" | "unit", of pixels in [0, 1].
    Source: RRM, Section 4.2.2.
    """
    logits = torch.zeros(len(eps), len(data), ctx.num_classes, device=data.device)
    plain = bce if data.target.ndim == 2 else squared if data.target.is_floating_point() else ce

    def attacked(batch: Batch) -> list[Tensor]:
        def losses(input: Tensor) -> Tensor:
            return plain(method.predict(ctx, input), batch.target)

        with ctx.side_pass("eval", grad=True):
            return fgsm(losses, batch.input, eps, sign, clip, ctx.pixels if space == "unit" else None)

    for batch in data.in_order(world=ctx.world):
        inputs = attacked(batch)
        with ctx.side_pass("eval"):
            for number, input in enumerate(inputs):
                logits[number].index_copy_(0, batch.index, method.predict(ctx, input))
    return ctx.world.sum_(logits)
