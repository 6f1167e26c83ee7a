"""What training cost, in plain epochs: `cost_ce` is 1 for cross-entropy, and 2 for two networks of it."""

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.support.plain import State, Tree


class Cost(Probe):
    """Mean over the epochs of `Epoch.cost`; not in it are the networks of detect.folds."""

    def __init__(self) -> None:
        self.epochs, self.sum = 0, 0.0

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        self.epochs += 1
        self.sum += epoch.cost
        return {}

    def state_dict(self) -> State:
        return {"epochs": self.epochs, "sum": self.sum}

    def load_state_dict(self, state: State) -> None:
        self.epochs, self.sum = state["epochs"], state["sum"]

    def result(self) -> dict[str, Tree]:
        return {"cost_ce": self.sum / self.epochs} if self.epochs else {}
