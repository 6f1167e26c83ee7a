"""How well validation and test rows are predicted."""

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.probes.base import Predictions, Probe, Seen


class Evaluation(Probe):
    """All measures of the task, val_* against the labels that the method sees and test_* against the clean ones."""

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        val = {f"val_{key}": value for key, value in predictions.val_measures.items()}
        return {**val, **{f"test_{key}": value for key, value in predictions.test_measures.items()}}
