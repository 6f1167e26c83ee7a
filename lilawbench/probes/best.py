"""Whether an epoch is the best so far, for probes that act on it before the record selects at the end."""

import math

from lilawbench.probes.base import Predictions
from lilawbench.tasks import Task


class BestSoFar:
    """The validation measure by which `best_val` selects; of equal epochs the first counts (record/selection.py)."""

    def __init__(self) -> None:
        self.rank: float | None = None

    def see(self, task: Task, predictions: Predictions) -> bool:
        """Whether this epoch is the best so far; False where there are no validation rows."""
        value = predictions.val_measures.get(task.measure)
        if value is None:
            return False
        rank = -math.inf if not math.isfinite(value) else value if task.maximise else -value
        if self.rank is not None and rank <= self.rank:
            return False
        self.rank = rank
        return True
