"""Clean first: rows that confident learning finds mislabelled leave the training set before training begins.

probs of each row by a network that trained on the other folds      (`engine/folds.py`, before the first epoch)
dropped = find_label_issues(labels, probs)                          (`metrics/confident.py`)
plain training, from the first weights, on the rows that are left
"""

from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.loading.batches import Batches
from lilawbench.losses import ce
from lilawbench.methods.base import Loss
from lilawbench.methods.context import Context
from lilawbench.methods.supervised import Supervised
from lilawbench.metrics.confident import FILTERS, label_issues
from lilawbench.support import host
from lilawbench.support.passes import BACKWARD
from lilawbench.tasks import CLASSES


class CleanFirst(Supervised):
    """cleanlab's `find_label_issues` on out-of-sample predictions, then training on the other rows.

    It costs folds - 1 further trainings' worth of steps, and then the shorter one. The networks of the folds are
    trained as the run is, on all rows of the other folds.

    Args:
        loss: per-sample loss, of the folds too.
        folds: >= 2.
        filter_by: "prune_by_noise_rate" | "confident_learning" | "predicted_neq_given", see `label_issues`.
    Raises:
        ValueError: any of these out of range.
    Source: Northcutt et al. 2021, section 3; the names are cleanlab's. Deviations: one round, without cleanlab's
        weights of the rows that are left.
    """

    tasks = CLASSES
    suspicion: ClassVar = {"dropped": 1}
    idle = "dropped no row"
    dropped: Tensor  # [N] bool; not in the checkpoint, since the files of the folds are kept

    def __init__(self, loss: Loss = ce, folds: int = 5, filter_by: str = "prune_by_noise_rate"):
        super().__init__(loss)
        if not isinstance(folds, int) or folds < 2:
            raise ValueError(f"folds is {folds}; it must be a whole number >= 2")
        if filter_by not in FILTERS:
            raise ValueError(f"filter_by is {filter_by!r}; it must be one of {list(FILTERS)}")
        self.folds, self.filter_by = folds, filter_by

    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        self.register_buffer("dropped", torch.zeros_like(ctx.targets, dtype=torch.bool), persistent=False)

    def take_out_of_sample(self, ctx: Context, probs: Tensor) -> None:
        observed = host.bring(ctx.targets, "labels that may be wrong")
        self.dropped = host.send(label_issues(probs, observed, self.filter_by), ctx.device)

    def on_epoch_start(self, ctx: Context) -> None:
        super().on_epoch_start(ctx)
        if ctx.world.is_main:  # each network of a fold trained for as many epochs, on all rows but those of its fold
            ctx.passes.add((1 + BACKWARD) * (self.folds - 1) * ctx.num_train)

    def batches(self, ctx: Context) -> Batches:
        return ctx.training_batches(~self.dropped)

    def sample_values(self) -> dict[str, Tensor]:
        return {**super().sample_values(), "dropped": self.dropped}
