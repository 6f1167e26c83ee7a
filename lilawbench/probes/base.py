"""What is measured of a run: a Probe looks at each epoch, and at the end gives its results.

    for probe in probes: probe.setup(scene)
    for epoch of training:
        for probe in probes: row |= probe.see(ctx, epoch, predictions)
    for probe in probes: probe.at_end(ctx, predictions)
    for probe in probes: result |= probe.result();  probe.files(folder)

The loop knows no probe, and a probe changes nothing in training. Under torchrun every rank calls `see` and
`at_end`, in the same order, since predictions are made together; only the main one calls `result` and `files`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from lilawbench.datasets.base import Source
from lilawbench.engine.evaluate import predict, predict_and_features
from lilawbench.engine.features import Features
from lilawbench.engine.gradients import gradient_norms
from lilawbench.engine.loop import Epoch
from lilawbench.loading.rows import Rows
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.metrics.measure import measure
from lilawbench.noise.labels import Labels
from lilawbench.support import host
from lilawbench.support.plain import State, Tree
from lilawbench.tasks import TASKS, Task

# Numbers of a probe go into the epoch's row of metrics.jsonl; lists and tensors (small arrays) into a separate row.
Seen = dict[str, float | int | list | Tensor | None]


@dataclass(frozen=True)
class Scene:
    """What a probe may know of a run, clean labels included."""

    source: Source
    labels: Labels
    train: Rows
    val: Rows
    test: Rows
    method: Method
    seed: int
    epochs: int  # as planned
    networks: tuple[nn.Module, ...] = ()

    @property
    def task(self) -> Task:
        return TASKS[self.source.task]

    @cached_property
    def observed(self) -> Tensor:
        """Observed labels of the training rows, [N] or [N, K], on the host."""
        return host.bring(self.train.target, "labels to measure against")

    @cached_property
    def clean(self) -> Tensor | None:
        """Clean labels of the training rows, on the host; None: unknown."""
        return None if self.labels.clean is None else torch.from_numpy(self.labels.clean[self.labels.train])

    @cached_property
    def train_vectors(self) -> Tensor | None:
        """Inputs of the training rows, on the host, where they are vectors or features of a frozen network, [N, D]."""
        train = self.train
        vectors = isinstance(train.input, Tensor) and train.input.ndim == 2 and self.source.vocabulary is None
        if not (vectors or isinstance(train, Features)):
            return None
        rows = torch.cat([batch.input for batch in train.in_order()])
        return host.bring(rows, "inputs to measure").flatten(1)

    @cached_property
    def val_target(self) -> Tensor:
        """Labels of the validation rows, [V], as the method sees them."""
        return host.bring(self.val.target, "labels to measure against")

    @cached_property
    def test_target(self) -> Tensor:
        """Clean labels of the test rows, [M]."""
        return host.bring(self.test.target, "labels to measure against")


class Predictions:
    """Predictions after an epoch, on the host: computed when a probe first asks, once for all probes.

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
        """Logits of the training rows in order, un-augmented, in eval mode, [N, K]; those of training are
        `Epoch.logits`."""
        return self._of(self.scene.train)

    @cached_property
    def train_and_features(self) -> tuple[Tensor, Tensor | None]:
        """As `train`, and what enters the last layer, [N, D]; None: the network has no dense last layer."""
        logits, features = predict_and_features(self.ctx, self.scene.method, self.scene.train)
        brought = host.bring(logits, "logits to measure")
        return brought, None if features is None else host.bring(features, "features to measure")

    @cached_property
    def train_gradient_norms(self) -> Tensor:
        """Norms of the gradients of each training row's loss, [N]: see `engine.gradients`."""
        return host.bring(gradient_norms(self.ctx, self.scene.train), "gradients to measure")

    @cached_property
    def val_measures(self) -> dict[str, float]:
        """All measures of the validation rows, against the labels that the method sees; empty: there are none."""
        return {} if self.val is None else measure(self.val, self.scene.val_target)

    @cached_property
    def test_measures(self) -> dict[str, float]:
        """All measures of the test rows, against their clean labels."""
        return measure(self.test, self.scene.test_target)

    def _of(self, data: Rows) -> Tensor:
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
        """What is measured of an epoch, by name.

        Args:
            epoch: results of training, its tensors on the host.
        """

    def take_out_of_sample(self, probs: Tensor) -> None:
        """Called once before the first epoch that is trained, where detect.folds asks for folds.

        Args:
            probs: of the training rows, each by a network that did not train on it, [N, K] on the host.
        """
        return

    def at_end(self, ctx: Context, predictions: Predictions) -> None:
        """Called once when training has ended, before `result`; on every rank, with predictions of the last epoch."""
        return

    def state_dict(self) -> State:
        """What a resumed run needs: tensors and plain values."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Loads what `state_dict` gave."""
        return

    def result(self) -> dict[str, Tree]:
        """Values for result.json, by name."""
        return {}

    def files(self, folder: Path) -> None:
        """Writes the probe's own files into the run's folder, before result.json."""
        return
