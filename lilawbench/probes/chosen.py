"""The predictions that a run is judged by: logits of validation and test rows at the epochs that rules choose."""

from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.probes.best import BestSoFar
from lilawbench.support.plain import State


class Chosen(Probe):
    """Keeps what `last` and `best_val` choose, for other probes to look at in the end.

    val, test: logits by rule, [V, K] and [M, K], on the host; without validation rows there is no best_val.
    epochs: the epoch of each.
    """

    def __init__(self) -> None:
        self.val: dict[str, Tensor] = {}
        self.test: dict[str, Tensor] = {}
        self.epochs: dict[str, int] = {}
        self.best = BestSoFar()

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        rules = ["last", "best_val"] if self.best.see(self.scene.task, predictions) else ["last"]
        for rule in rules:
            self.test[rule], self.epochs[rule] = predictions.test, epoch.number
            if predictions.val is not None:
                self.val[rule] = predictions.val
        return {}

    def state_dict(self) -> State:
        return {"val": self.val, "test": self.test, "epochs": self.epochs, "rank": self.best.rank}

    def load_state_dict(self, state: State) -> None:
        self.val = {rule: logits.cpu() for rule, logits in state["val"].items()}
        self.test = {rule: logits.cpu() for rule, logits in state["test"].items()}
        self.epochs, self.best.rank = dict(state["epochs"]), state["rank"]
