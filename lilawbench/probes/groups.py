"""Predictions for groups of test rows, such as men and women."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.fairness import fairness
from lilawbench.metrics.measure import measure
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.probes.best import BestSoFar
from lilawbench.support.plain import State, Tree
from lilawbench.support.seeding import derive


class Groups(Probe):
    """Keeps the test logits of the epochs that `last` and `best_val` report, and compares the groups at the end.

    result() for two classes: {"last.fairness": rows of `fairness`, "best_val.fairness": ...}, with one bootstrap per
    seed. For other tasks: each group's measures and its size, {"last.test_accuracy.sex=Female": ...,
    "last.test_n.sex=Female": ...}, for `make_tables.py --metric`.
    """

    def __init__(self) -> None:
        self.logits: dict[str, Tensor] = {}  # rule -> [M, K]
        self.best = BestSoFar()

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        self.logits["last"] = predictions.test
        if self.best.see(self.scene.task, predictions):
            self.logits["best_val"] = predictions.test
        return {}

    def state_dict(self) -> State:
        return {"logits": self.logits, "rank": self.best.rank}

    def load_state_dict(self, state: State) -> None:
        self.logits = {rule: logits.cpu() for rule, logits in state["logits"].items()}
        self.best.rank = state["rank"]

    def result(self) -> dict[str, Tree]:
        make = self._gaps if self.scene.task.name == "binary" else self._measures
        return {f"{rule}.{key}": value for rule, logits in self.logits.items() for key, value in make(logits)}

    def _gaps(self, logits: Tensor) -> Iterator[tuple[str, list[dict[str, Tree]]]]:
        source = self.scene.source
        groups = source.test_groups, source.reference_groups
        yield (
            "fairness",
            fairness(logits.argmax(1).numpy(), source.test_clean, *groups, derive(self.scene.seed, "bootstrap")),
        )

    def _measures(self, logits: Tensor) -> Iterator[tuple[str, float]]:
        source = self.scene.source
        target = torch.from_numpy(source.test_clean)
        for attribute, group in source.test_groups.items():
            for name in np.unique(group):
                rows = torch.from_numpy(group == name)
                for key, value in {"n": int(rows.sum()), **measure(logits[rows], target[rows])}.items():
                    yield f"test_{key}.{attribute}={name}", value
