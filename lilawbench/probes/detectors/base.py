"""What every detector is: it sees the training rows after each epoch, and at any time gives each row a score.

    for epoch of training:
        for detector in detectors: detector.see(look)
    scores = detector.scores()      # [N], larger = more likely to be wrong

A detector never sees a clean label. It keeps O(N) numbers, whatever the epochs; one that keeps O(N K) says so.

LiLAW's Table 15 takes the clean rows as positive, and of many scores the average precision without turning them first
(its figures fit no other reading); its AUROC lies above 1/2, so those it did turn. `paper_scores` are these scores.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.support.errors import PartError
from lilawbench.support.plain import State
from lilawbench.tasks import CLASSES


@dataclass(frozen=True)
class Look:
    """The training rows after an epoch, on the host. What several detectors need is computed once, when first asked.

    Rows that did not train in this epoch have logits of an earlier one, or 0 where there is none; `seen` tells.
    """

    number: int  # of the epoch, from 1
    logits: Tensor  # [N, K] as each row was seen in training
    observed: Tensor  # [N] int64, or [N, K] of 0 and 1
    seen: Tensor  # [N] bool, rows that trained in this epoch
    lr: float = 0.0  # of the epoch's last step
    trace: Mapping[str, float] = field(default_factory=dict)  # the method's own values after the last step
    values: Mapping[str, Tensor] = field(default_factory=dict)  # its values per row, `Method.sample_values`
    in_order: Callable[[], "Plain"] | None = None  # an un-augmented pass in eval mode; None: nobody can make one
    inputs: Callable[[], Tensor | None] = lambda: None  # rows that are vectors, [N, D]; None: they are no vectors
    gradient_norms: Callable[[], Tensor] | None = None  # [N], of each row's loss by all weights that train: a long pass
    out_of_sample: Tensor | None = (
        None  # [N, K], probabilities by networks that did not train on the row (detect.folds)
    )

    @cached_property
    def plain(self) -> "Plain":
        """Logits and features in order, un-augmented, in eval mode: a pass of its own over the training rows."""
        if self.in_order is None:
            raise RuntimeError("this look has no pass in order")
        return self.in_order()

    @cached_property
    def probs(self) -> Tensor:
        """[N, K], rows add up to 1."""
        return self.logits.softmax(1)

    @cached_property
    def prob_given(self) -> Tensor:
        """Probability of the given label, [N]."""
        return self.of_given(self.probs)

    @cached_property
    def prob_most(self) -> Tensor:
        """The largest probability, [N]."""
        return self.probs.amax(1)

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy, [N]."""
        return torch.nn.functional.cross_entropy(self.logits, self.observed, reduction="none")

    @cached_property
    def margin(self) -> Tensor:
        """Logit of the given label less the largest other, [N]."""
        return self.of_given(self.logits) - self.largest_other(self.logits)

    def of_given(self, values: Tensor) -> Tensor:
        """The entry of the given label of each row, [N, K] -> [N]."""
        return values.gather(1, self.observed[:, None])[:, 0]

    def largest_other(self, values: Tensor) -> Tensor:
        """The largest entry of each row that is not the given label's, [N, K] -> [N]."""
        return values.scatter(1, self.observed[:, None], -torch.inf).amax(1)


@dataclass(frozen=True)
class Plain:
    """What an un-augmented pass in eval mode finds of the training rows, on the host."""

    logits: Tensor  # [N, K]
    features: Tensor | None  # [N, D] that enter the last layer; None: the network has no such layer
    bias: bool = True  # whether that layer has one


class Detector(ABC):
    """One score of the training rows. Its options are the arguments of its constructor.

    The docstring of each says the formula, which rows score high, and the source.
    """

    tasks: ClassVar[tuple[str, ...]] = CLASSES
    epochs: ClassVar[int] = 1  # that it must see before its scores say anything
    needs_features: ClassVar[bool] = False  # whether it may ask for `Look.plain`, a pass of its own
    needs_folds: ClassVar[bool] = False  # whether it asks for `Look.out_of_sample`
    # Whether it sees only the epochs after which its scores are asked for, and the end of training, where there is no
    # epoch to look at: logits and what the method says are 0 or empty there, the rest of a look is as ever.
    when_asked: ClassVar[bool] = False
    # Table 15 took its score with this sign, larger = right; 1: it took the score as it is, where larger = wrong
    paper_sign: ClassVar[int] = -1

    def setup(self, num_train: int, num_classes: int) -> None:
        """Called once: allocate what is kept, O(N)."""
        return

    @abstractmethod
    def see(self, look: Look) -> None:
        """Takes in an epoch. Rows that it did not train on (`look.seen`) keep what they have."""

    @abstractmethod
    def scores(self) -> Tensor:
        """Score of each training row, [N]; larger = more likely to be wrong. Rows never seen: nan."""

    def paper_scores(self) -> Tensor:
        """The score as LiLAW's Table 15 ranked it with clean rows as positive, [N]: see the head of this file."""
        return self.paper_sign * self.scores()

    def state_dict(self) -> State:
        """Its tensors and numbers, for a resumed run."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor | int | float)}

    def load_state_dict(self, state: State) -> None:
        """Loads what `state_dict` gave."""
        copied = {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}
        vars(self).update(copied)


def _of_rows(detector: Detector, values: object, look: Look) -> Tensor:
    """Values of an epoch, [N] float64. Raises: PartError, they are no tensor [N]."""
    if not isinstance(values, Tensor) or values.shape != look.seen.shape:
        found = list(values.shape) if isinstance(values, Tensor) else f"a {type(values).__name__}"
        name = type(detector).__name__
        raise PartError(
            f"detector {name}: value() gave {found}; it must be a tensor {list(look.seen.shape)}, one a row"
        )
    return values.double()


class MeanOverEpochs(Detector):
    """The mean over epochs of a value of each row, over the epochs that it trained in."""

    def setup(self, num_train: int, num_classes: int) -> None:
        self.total = torch.zeros(num_train, dtype=torch.float64)
        self.times = torch.zeros(num_train, dtype=torch.float64)

    def see(self, look: Look) -> None:
        self.total += _of_rows(self, self.value(look), look).where(look.seen, 0)
        self.times += look.seen

    def scores(self) -> Tensor:
        return self.total / self.times

    @abstractmethod
    def value(self, look: Look) -> Tensor:
        """[N] of an epoch; larger = more likely to be wrong."""


class Latest(Detector):
    """A value of each row in the last epoch that it trained in."""

    def setup(self, num_train: int, num_classes: int) -> None:
        self.value_now = torch.full((num_train,), torch.nan, dtype=torch.float64)

    def see(self, look: Look) -> None:
        self.value_now = _of_rows(self, self.value(look), look).where(look.seen, self.value_now)

    def scores(self) -> Tensor:
        return self.value_now

    @abstractmethod
    def value(self, look: Look) -> Tensor:
        """[N] of an epoch; larger = more likely to be wrong."""
