"""How a method weighed samples that look easy, moderate or hard: some of the last epoch's, for a picture."""

from pathlib import Path

import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.measure import corrupted
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.support.atomic import replacing
from lilawbench.support.plain import State

FILE = "weighing.npz"
MOST = 3000  # samples that are kept


class Weighing(Probe):
    """Keeps, of up to 3,000 evenly spaced training rows of the last epoch with weights, what each weight was given to.

    Written as weighing.npz: row, of the training table; s_y and s_max, the probabilities of the observed label and of
    the likeliest one, as seen in training; weight; corrupted, where clean labels are known; epoch. Of one class a
    sample, and of methods that weight samples; nothing is written of others.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        observed = self.scene.observed
        if epoch.weight is None or observed.ndim != 1 or observed.is_floating_point():
            return {}
        rows = epoch.seen.nonzero().squeeze(1)
        rows = rows[:: -(-len(rows) // MOST)] if len(rows) else rows
        probs = epoch.logits[rows].float().softmax(1)
        s_y = probs.gather(1, observed[rows, None]).squeeze(1)
        self.kept = {"row": rows, "s_y": s_y, "s_max": probs.amax(1), "weight": epoch.weight[rows].float()}
        if self.scene.clean is not None:
            self.kept["corrupted"] = corrupted(observed[rows], self.scene.clean[rows])
        self.kept["epoch"] = torch.tensor(epoch.number)
        return {}

    def state_dict(self) -> State:
        return dict(self.kept)

    def load_state_dict(self, state: State) -> None:
        self.kept = {name: value.cpu() for name, value in state.items()}

    def files(self, folder: Path) -> None:
        """Writes weighing.npz, if there was a weight."""
        import numpy as np

        if self.kept:
            with replacing(folder / FILE) as file:
                arrays = {name: value.numpy() for name, value in self.kept.items()}
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
