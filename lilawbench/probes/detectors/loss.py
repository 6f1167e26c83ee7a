"""The loss, the baseline that every other score must beat."""

from torch import Tensor

from lilawbench.probes.detectors.base import Look, MeanOverEpochs


class MeanLoss(MeanOverEpochs):
    """Mean over epochs of the cross-entropy of the given label, as each row was seen in training.

    High: rows that training was slow to fit, or never did.

    Source: folklore, as small-loss selection.
    """

    def value(self, look: Look) -> Tensor:
        return look.losses
