"""Groups of test rows: who was predicted what."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilawbench.datasets.base import Source
from lilawbench.metrics.fairness import fairness
from lilawbench.metrics.measure import measure
from lilawbench.support.seeding import derive


class GroupRecord:
    """Test logits of the epochs that `last` and `best_val` report; they go into the checkpoint."""

    def __init__(self, source: Source):
        self.source = source
        self.logits: dict[str, Tensor] = {}  # rule -> [M, K]

    def see(self, logits: Tensor, best_val: bool) -> None:
        """An epoch's test logits, [M, K]."""
        self.logits["last"] = logits = logits.cpu()
        if best_val:
            self.logits["best_val"] = logits

    def result(self, seed: int) -> dict[str, Any]:
        """Two classes: {"last.fairness": rows of `fairness`, "best_val.fairness": ...}, the same rows drawn for a seed.

        Other tasks: the measures of each group by itself and its size, {"last.test_accuracy.sex=Female": ...,
        "last.test_n.sex=Female": ...}, for `make_tables.py --metric`.
        """
        make = self._gaps if self.source.task == "binary" else self._measures
        return {f"{rule}.{key}": value for rule, logits in self.logits.items() for key, value in make(logits, seed)}

    def _gaps(self, logits: Tensor, seed: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        source = self.source
        groups = source.test_groups, source.reference_groups
        yield "fairness", fairness(logits.argmax(1).numpy(), source.test_clean, *groups, derive(seed, "bootstrap"))

    def _measures(self, logits: Tensor, seed: int) -> Iterator[tuple[str, float]]:
        target = torch.from_numpy(self.source.test_clean)
        for attribute, group in self.source.test_groups.items():
            for name in np.unique(group):
                rows = torch.from_numpy(group == name)
                for key, value in {"n": int(rows.sum()), **measure(logits[rows], target[rows])}.items():
                    yield f"test_{key}.{attribute}={name}", value
