"""CNLCU-S, a robust mean of the losses."""

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Look, MeanOverEpochs


class CNLCUS(MeanOverEpochs):
    """max(0, m - b), m = mean over epochs of log(1 + l + l^2 / 2), l the cross-entropy,
    b = s (t + s log(2t) / t^2) / (n - s), after t epochs in n of which the row trained.

    High: as the mean loss, but a single huge loss counts less.

    Args:
        variance: s, in [0, 1).
    Raises:
        ValueError: s out of range.
    Source: Xia et al. 2022, CNLCU-S. Deviations: their n is how often small-loss selection took the row, and rows taken
    seldom get a bonus; here nothing is selected, so b is nearly s for all, and the order that of m. Their s falls from
    1e-4 to 0 within 80 epochs, and their code forgets losses every 3 epochs; here s stays, and nothing is forgotten.
    """

    paper_sign = 1

    def __init__(self, variance: float = 1e-4):
        if not 0 <= variance < 1:
            raise ValueError(f"variance is {variance}; it must lie in [0, 1)")
        self.variance = variance

    def setup(self, num_train: int, num_classes: int) -> None:
        super().setup(num_train, num_classes)
        self.looks = 0

    def see(self, look: Look) -> None:
        super().see(look)
        self.looks += 1

    def value(self, look: Look) -> Tensor:
        return torch.log1p(look.losses + look.losses.square() / 2)

    def scores(self) -> Tensor:
        s, t = self.variance, torch.tensor(max(self.looks, 1), dtype=torch.float64)
        bound = s * (t + s * torch.log(2 * t) / t**2) / (self.times - s)
        return (super().scores() - bound).clamp(min=0)
