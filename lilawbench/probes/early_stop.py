"""Ends a run whose validation loss no longer falls."""

import math

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.support.plain import State


class EarlyStop(Probe):
    """Stops training when the validation loss has not fallen for some epochs.

    Args:
        patience_epochs: stop after so many epochs without a lower val_loss.
    """

    def __init__(self, patience_epochs: int):
        self.patience_epochs = patience_epochs
        self.losses: list[float] = []

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        loss = predictions.val_measures["loss"]
        self.losses.append(loss if math.isfinite(loss) else math.inf)
        self.stop = self._waited_enough()
        return {}

    def state_dict(self) -> State:
        return {"losses": list(self.losses)}

    def load_state_dict(self, state: State) -> None:
        self.losses = list(state["losses"])
        self.stop = self._waited_enough()

    def _waited_enough(self) -> bool:
        losses, patience = self.losses, self.patience_epochs
        return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])
