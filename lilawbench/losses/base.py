"""What a per-sample loss with a memory is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

Predict = Callable[[], tuple[Tensor, Tensor]]


class StatefulLoss(nn.Module, ABC):
    """A per-sample loss that remembers: its buffers are its whole state and go into the checkpoint.

    A method drives it: `setup` and `observe` once, `start_epoch` and `end_epoch` each epoch, `update` before each
    training batch's `forward`.
    """

    suspicion: ClassVar[Mapping[str, int]] = {}  # directions of its `sample_values`, see `methods.base.Method`
    # Why `update` and `forward` may do other operations in another step, as `methods.base.Method.steps_differ` says it
    steps_differ: str | None = "it does not say that all its steps are the same"

    def setup(self, num_train: int, num_classes: int, device: torch.device) -> None:
        """Called once, before a checkpoint is loaded: allocate buffers of size N or K here.

        Raises:
            ValueError: the loss's options do not fit these data.
        """

    def observe(self, labels: Tensor) -> None:
        """Called once, after `setup`: the training table's observed labels, [N] or [N, K]. Count classes here."""

    def never_acts(self, epochs: int) -> list[str]:
        """What it never does in a run of so many epochs, as `methods.base.Method.never_acts` says it."""
        return []

    def start_epoch(self, epoch: int, predict: Predict) -> None:
        """Called at the start of an epoch, counted from 1.

        Args:
            predict: logits [N, K] of the training table in eval mode, and its observed labels [N]. It costs a forward
                of every sample: call it only where its result is used.
        """

    def update(self, logits: Tensor, index: Tensor) -> None:
        """Learns from a training batch: detached logits [B, K] of the training rows index [B]."""

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor, index: Tensor | None = None) -> Tensor:
        """Losses [B]. Without `index` the samples have no history (validation batches): its term is left out."""

    def end_epoch(self, sum_: Callable[[Tensor], Tensor]) -> None:
        """Called after an epoch that several processes shared: makes their states one.

        Args:
            sum_: replaces a tensor by its sum over the processes, in place, and returns it.
        """

    def told(self) -> list[str]:
        """Options by which it was told how noisy the labels are, see `methods.base.Method.told`."""
        return []

    def sample_values(self, observed: Tensor) -> dict[str, Tensor]:
        """Values [N] per training sample after an epoch, by name; its observed labels are [N] or [N, K]."""
        return {}
