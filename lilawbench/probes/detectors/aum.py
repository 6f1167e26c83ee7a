"""Area under the margin."""

from torch import Tensor

from lilawbench.probes.detectors.base import Look, MeanOverEpochs


class AUM(MeanOverEpochs):
    """-mean over epochs of z_y - max_{j != y} z_j, logits as trained (train mode, augmented).

    High: rows that the network would rather give another label.

    Source: Pleiss et al. 2020, eq. 1. Deviations: the sign, so that larger is more suspicious.
    """

    def value(self, look: Look) -> Tensor:
        return -look.margin
