"""What is measured of a run: a Probe looks at each epoch, and says at the end what came of all.

    for probe in probes: probe.setup(scene)
    for epoch of training:
        for probe in probes: row |= probe.see(ctx, epoch, predictions)
    for probe in probes: result |= probe.result();  probe.files(folder)

The loop knows no probe, and a probe changes nothing in training. Under torchrun every rank goes through `see`, in the
same order, since predictions are made together; the main one alone goes through `result` and `files`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lilawbench.datasets.base import Source
from lilawbench.engine.evaluate import predict
from lilawbench.engine.loop import Epoch
from lilawbench.loading.resident import Resident
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.metrics.measure import measure
from lilawbench.noise.labels import Labels
from lilawbench.support import host
from lilawbench.tasks import TASKS, Task

# Numbers of a probe go into the epoch's row of metrics.jsonl; lists and tensors (small tables) into a row of their own.
Seen = dict[str, float | int | list | Tensor | None]


@dataclass(frozen=True)
class Scene:
    """What a probe may know of a run, clean labels included."""

    source: Source
    labels: Labels
    train: Resident
    val: Resident
    test: Resident
    method: Method
    seed: int
    epochs: int  # that are planned

    @property
    def task(self) -> Task:
        return TASKS[self.source.task]

    @cached_property
    def observed(self) -> Tensor:
        """Labels that the rows train on, [N], on the host."""
        return host.bring(self.train.target, "labels to measure against")

    @cached_property
    def clean(self) -> Tensor | None:
        """Their clean labels, likewise; None: nobody knows them."""
        return None if self.labels.clean is None else torch.from_numpy(self.labels.clean[self.labels.train])

    @cached_property
    def val_target(self) -> Tensor:
        """Labels of the validation rows, [V], as the method sees them."""
        return host.bring(self.val.target, "labels to measure against")

    @cached_property
    def test_target(self) -> Tensor:
        """Clean labels of the test rows, [M]."""
        return host.bring(self.test.target, "labels to measure against")


class Predictions:
    """What the networks say after an epoch, on the host: computed when a probe first asks, once for all of them.

    Every rank must ask for the same in the same order.
    """

    def __init__(self, ctx: Context, scene: Scene):
        self.ctx, self.scene = ctx, scene

    @cached_property
    def val(self) -> Tensor | None:
        """Logits of the validation rows, [V, K]; None: there are none."""
        return self._of(self.scene.val) if len(self.scene.val) else None

    @cached_property
    def test(self) -> Tensor:
        """Logits of the test rows, [M, K]."""
        return self._of(self.scene.test)

    @cached_property
    def train(self) -> Tensor:
        """Logits of the training rows in order, un-augmented, in eval mode, [N, K]; `Epoch.logits` has them as they
        were in training."""
        return self._of(self.scene.train)

    @cached_property
    def val_measures(self) -> dict[str, float]:
        """All measures of the validation rows, against the labels that the method sees; empty: there are none."""
        return {} if self.val is None else measure(self.val, self.scene.val_target)

    @cached_property
    def test_measures(self) -> dict[str, float]:
        """All measures of the test rows, against their clean labels."""
        return measure(self.test, self.scene.test_target)

    def _of(self, data: Resident) -> Tensor:
        return host.bring(predict(self.ctx, self.scene.method, data), "logits to measure")


class Probe(ABC):
    """One thing that is measured. Its options are the arguments of its constructor."""

    scene: Scene
    stop: bool = False  # True ends the training after this epoch

    def setup(self, scene: Scene) -> None:
        """Called once, before a checkpoint is loaded."""
        self.scene = scene

    @abstractmethod
    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        """What an epoch came to.

        Args:
            epoch: what training left behind, its tensors on the host.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know again: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        return

    def result(self) -> dict[str, Any]:
        """What goes into result.json."""
        return {}

    def files(self, folder: Path) -> None:
        """Writes files of its own into the run's folder, before result.json."""
        return
