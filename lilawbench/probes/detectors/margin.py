"""Margins of the given label over the likeliest other, after an epoch or of averaged predictions."""

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Detector, Latest, Look


class Margin(Latest):
    """-(z_y - max_{j != y} z_j), logits of the last epoch that a row trained in; over all epochs it is `aum`.

    High: rows that the network would rather give another label. A network that has learnt wrong labels by heart hides
    them.

    Source: folklore; Pleiss et al. 2020 average it.
    """

    def value(self, look: Look) -> Tensor:
        return -look.margin


class NormalisedMargin(Latest):
    """-(p_y - max_{j != y} p_j + 1) / 2, in [-1, 0], of the last epoch that a row trained in.

    High: rows of which the network is sure that they have another label.

    Source: cleanlab, `rank.get_normalized_margin_for_each_label`. Deviations: the sign. Cleanlab wants probabilities of
    networks that did not train on the row; these did.
    """

    def value(self, look: Look) -> Tensor:
        return (look.largest_other(look.probs) - look.prob_given - 1) / 2


class AveragedMargin(Detector):
    """-(q_y - max_{j != y} q_j), q = mean over epochs of the probabilities. Keeps O(N K) numbers.

    High: rows for which training as a whole preferred one other label. The rival is one class for all epochs, that of
    `aum` another one in each.

    Source: the margin of aggregated predictions in arXiv 2510.16211, the best of scores of rows that were trained on.
    """

    def setup(self, num_train: int, num_classes: int) -> None:
        self.total = torch.zeros(num_train, num_classes)
        self.times = torch.zeros(num_train)
        self.observed = torch.zeros(num_train, dtype=torch.int64)

    def see(self, look: Look) -> None:
        self.total += look.probs.where(look.seen[:, None], 0)
        self.times += look.seen
        self.observed = look.observed

    def scores(self) -> Tensor:
        mean, given = self.total / self.times[:, None], self.observed[:, None]
        other = mean.scatter(1, given, -torch.inf).amax(1)
        return (other - mean.gather(1, given)[:, 0]).double()
