"""Ends a run whose validation loss falls no longer."""

import math
from typing import Any

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.probes.base import Predictions, Probe, Seen


class EarlyStop(Probe):
    """Args:
    patience_epochs: stop after so many epochs without a lower val_loss.
    """

    def __init__(self, patience_epochs: int):
        self.patience_epochs, self.losses = patience_epochs, []

    @property
    def stop(self) -> bool:
        losses, patience = self.losses, self.patience_epochs
        return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        loss = predictions.val_measures["loss"]
        self.losses.append(loss if math.isfinite(loss) else math.inf)
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"losses": list(self.losses)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = list(state["losses"])
