"""How well the training rows are fitted, from their logits in training."""

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.measure import headline, memorisation
from lilawbench.metrics.ranking import average_precision
from lilawbench.probes.base import Predictions, Probe, Seen


class Fit(Probe):
    """train_loss and the task's measure on the observed labels; of two classes also class 1's average precision."""

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        seen = epoch.seen
        value = headline(epoch.logits[seen], self.scene.observed[seen])
        out: Seen = {"train_loss": epoch.losses.double().mean().item(), f"train_{self.scene.task.measure}": value}
        if self.scene.task.name == "binary":
            probability, positive = epoch.logits[seen].double().softmax(1), self.scene.observed[seen] == 1
            out["train_average_precision"] = average_precision(probability[:, 1:], positive[:, None]).item()
        return out


class Memorisation(Probe):
    """What training made of corrupted labels (`measure.memorisation`), where the clean ones are known."""

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        seen, clean, weight = epoch.seen, self.scene.clean, epoch.weight
        if clean is None:
            return {}
        weight = None if weight is None else weight[seen]
        return dict(memorisation(epoch.logits[seen], self.scene.observed[seen], clean[seen], weight))
