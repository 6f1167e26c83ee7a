"""Values against a threshold: whether the rows above it are predicted to be higher than the others."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.ranking import auroc_and_average_precision
from lilawbench.probes.base import Predictions, Probe, Scene, Seen
from lilawbench.support.errors import ConfigError


class Threshold(Probe):
    """AUROC and average precision of "the value is above the threshold", by the predicted values.

    see() has val_auroc, val_average_precision, test_auroc and test_average_precision, and of each group of test rows,
    where the data have groups, test_auroc.group=NAME and test_average_precision.group=NAME. Rows that lie all on one
    side of the threshold have none.

    Args:
        above: the threshold, in the unit of the values; a row with this very value is not above it.
    Raises:
        ConfigError: the data have classes or labels, no values.
    Source: LiLAW, A.21, which predicts the intensity of pain as a value and judges it as a class.
    """

    def __init__(self, above: float):
        self.above = above

    def setup(self, scene: Scene) -> None:
        super().setup(scene)
        if scene.task.name != "regression":
            raise ConfigError([f"probe=threshold is for values (regression); these data are {scene.task.name}"])
        self.groups = {
            f"test_{{}}.{attribute}={name}": torch.from_numpy(group == name)
            for attribute, group in scene.source.test_groups.items()
            for name in sorted(set(group.tolist()))
        }

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        found: Seen = dict(self._ranked(predictions.test, self.scene.test_target, "test_{}"))
        if predictions.val is not None:
            found |= self._ranked(predictions.val, self.scene.val_target, "val_{}")
        for called, rows in self.groups.items():
            found |= self._ranked(predictions.test[rows], self.scene.test_target[rows], called)
        return found

    def _ranked(self, logits: Tensor, target: Tensor, called: str) -> Iterator[tuple[str, float]]:
        above = target > self.above
        if above.any() and not above.all():
            values = auroc_and_average_precision(logits, above[:, None])[:, 0].tolist()
            yield from zip(map(called.format, ("auroc", "average_precision")), values)
