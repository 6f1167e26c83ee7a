"""How well the training rows are fitted, from their logits in training."""

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.measure import headline, memorisation
from lilawbench.probes.base import Predictions, Probe, Seen


class Fit(Probe):
    """train_loss and the task's measure on the observed labels."""

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        seen = epoch.seen
        value = headline(epoch.logits[seen], self.scene.observed[seen])
        return {"train_loss": epoch.losses.double().mean().item(), f"train_{self.scene.task.measure}": value}


class Memorisation(Probe):
    """What training made of corrupted labels (`measure.memorisation`), where the clean ones are known."""

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        seen, clean, weight = epoch.seen, self.scene.clean, epoch.weight
        if clean is None:
            return {}
        weight = None if weight is None else weight[seen]
        return dict(memorisation(epoch.logits[seen], self.scene.observed[seen], clean[seen], weight))
