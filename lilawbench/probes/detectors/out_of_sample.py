"""Scores of logits, taken of networks that did not train on the row (detect.folds)."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Detector, Look
from lilawbench.probes.detectors.confidence import ConfidenceWeightedEntropy, SelfConfidence
from lilawbench.probes.detectors.margin import Margin, NormalisedMargin


class OfFolds(Detector):
    """A value of each row by the network of its fold."""

    needs_folds = True
    when_asked = True

    def setup(self, num_train: int, num_classes: int) -> None:
        self.value_now = torch.full((num_train,), torch.nan, dtype=torch.float64)

    def see(self, look: Look) -> None:
        """Raises: RuntimeError, the look has no predictions out of sample."""
        if look.out_of_sample is None:
            raise RuntimeError("this look has no predictions out of sample")
        self.value_now = self.value(look, look.out_of_sample.double())

    def scores(self) -> Tensor:
        return self.value_now

    @abstractmethod
    def value(self, look: Look, probs: Tensor) -> Tensor:
        """[N] of out-of-sample probabilities, [N, K] float64; larger = more likely to be wrong."""


class OutOfSample(OfFolds):
    """Another score, of out-of-sample probabilities. A subclass says which: `of`."""

    of: ClassVar[type[Detector]]

    def value(self, look: Look, probs: Tensor) -> Tensor:
        inner = self.of()
        inner.setup(*probs.shape)
        inner.see(replace(look, logits=probs.clamp(min=torch.finfo(torch.float64).tiny).log(), seen=look.observed >= 0))
        return inner.scores()


class SelfConfidenceOOS(OutOfSample):
    """-p_y of the fold's network, in [-1, 0].

    High: rows whose label a network does not believe that never saw it.

    Source: cleanlab, `rank.get_self_confidence_for_each_label`. Deviations: the sign.
    """

    of = SelfConfidence


class NormalisedMarginOOS(OutOfSample):
    """-(p_y - max_{j != y} p_j + 1) / 2 of the fold's network, in [-1, 0].

    High: rows for which a network that never saw them is sure of another label.

    Source: cleanlab, `rank.get_normalized_margin_for_each_label`. Deviations: the sign.
    """

    of = NormalisedMargin


class ConfidenceWeightedEntropyOOS(OutOfSample):
    """As `ConfidenceWeightedEntropy`, of the fold's network; in [-1, 0).

    High: rows whose label it does not believe, and the more so, the less sure it is of any other.

    Source: cleanlab, `rank.get_confidence_weighted_entropy_for_each_label`. Deviations: see there.
    """

    of = ConfidenceWeightedEntropy


class MarginOOS(OutOfSample):
    """max_{j != y} log p_j - log p_y of the fold's network: its logits' margin, turned.

    High: rows for which a network that never saw them prefers another label. Unlike the normalised margin it goes on
    telling rows apart where probabilities have reached 0 and 1.
    """

    of = Margin
