"""A mixture of two kinds of losses."""

from torch import Tensor

from lilawbench.metrics.mixture import high_loss
from lilawbench.probes.detectors.loss import MeanLoss


class LossGMM(MeanLoss):
    """P(high component | mean loss), in [0, 1]: two normal distributions fitted to the rows' mean losses over the
    epochs.

    High: rows of the component with the larger mean. Above 1/2 counts as wrong, so that it says how many are. Far from
    both means the wider component wins, so a very small loss may get a high value; large ones tie at 1.

    Source: Li et al. 2020 (DivideMix), see `metrics.mixture.high_loss`. Deviations: losses as seen in training, and
    averaged over all epochs; theirs are of an un-augmented pass, averaged at high noise rates alone.
    """

    def scores(self) -> Tensor:
        return high_loss(super().scores())
