"""TracIn, what training on a row did to its own loss."""

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Detector, Look
from lilawbench.probes.detectors.grand import last_layer_norms


class TracIn(Detector):
    """sum over epochs t of lr_t |gradient_t|^2, the self-influence of a row; the gradient is that of the last layer
    (`GraNd`), lr_t the learning rate of the epoch's last step.

    High: rows of which the network has to learn by heart what no other row teaches it.

    A pass over the rows after each epoch. Networks without a dense last layer: nan.

    Source: Pruthi et al. 2020, section 3.3 (TracInCP) with z = z'; the last layer, as their section 4.1 does.
        Deviations: every epoch is a checkpoint.
    """

    needs_features = True

    def setup(self, num_train: int, num_classes: int) -> None:
        self.total = torch.zeros(num_train, dtype=torch.float64)
        self.times = 0

    def see(self, look: Look) -> None:
        self.total = self.total + look.lr * last_layer_norms(look.plain, look.observed).square()
        self.times += 1

    def scores(self) -> Tensor:
        return self.total if self.times else torch.full_like(self.total, torch.nan)
