"""LDAM: margins that are larger for rare classes, and weights for them late in training (DRW)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.losses.balanced import class_counts
from lilawbench.losses.base import Predict, StatefulLoss


class LDAM(StatefulLoss):
    """Label-distribution-aware margin loss, w_y CE(s (cos - m_y 1[k = y]), y) with m_k ~ n_k^(-1/4).

    The margins mean something only between cosines: a run with this loss has a head that compares normalised features
    with normalised weights and gives s cos as logits (`models.cosine`), whatever its network is. A network whose last
    layer is not dense is refused.

    Args:
        max_margin: m of the rarest class, >= 0; with 0 it is cross-entropy on such a head.
        scale: s, > 0.
        drw_after_epochs: finished epochs after which w_k ~ (1 - beta) / (1 - beta^n_k) weights the classes (deferred
            re-weighting); None: never, w = 1. The paper: 160 of 200.
        drw_beta: beta, in [0, 1): 0 weights all the same; towards 1, by 1 / n_k.
    Raises:
        ValueError: an option out of range.
    Source: Cao et al. 2019, eq. 9-13 and Algorithm 1; weights of Cui et al. 2019. Deviations: w has mean 1 over the
        training rows. The authors scale it to sum to K, and then torch divides by its sum over the batch: the same on
        average, but not a loss of one sample. A class without a row counts as one of one row.
    """

    margin: Tensor | None  # s m_k, [K]
    weight: Tensor | None  # [K]

    def __init__(
        self,
        max_margin: float = 0.5,
        scale: float = 30.0,
        drw_after_epochs: int | None = None,
        drw_beta: float = 0.9999,
    ):
        super().__init__()
        if not 0 <= max_margin < math.inf:
            raise ValueError(f"max_margin is {max_margin}; it must be >= 0 and finite")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale}; it must be > 0 and finite")
        if drw_after_epochs is not None and (not isinstance(drw_after_epochs, int) or drw_after_epochs < 0):
            raise ValueError(f"drw_after_epochs is {drw_after_epochs}; it must be a whole number >= 0, or null")
        if not 0 <= drw_beta < 1:
            raise ValueError(f"drw_beta is {drw_beta}; it must lie in [0, 1)")
        self.max_margin, self.drw_after_epochs, self.drw_beta = max_margin, drw_after_epochs, drw_beta
        self.cosine_scale = scale
        self.weighs = False
        self.steps_differ = None if drw_after_epochs is None else "loss.drw_after_epochs changes it during the run"
        self.register_buffer("margin", None, persistent=False)
        self.register_buffer("weight", None, persistent=False)

    def never_acts(self, epochs: int) -> list[str]:
        late = self.drw_after_epochs
        if late is None or late < epochs:
            return []
        return [f"DRW never weighted: loss.drw_after_epochs is {late}, of {epochs} epochs"]

    def setup(self, num_train: int, num_classes: int, device: torch.device) -> None:
        self.margin = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self.weight = torch.ones_like(self.margin)

    def observe(self, labels: Tensor) -> None:
        if self.margin is None:
            return
        counts = class_counts(labels, len(self.margin))
        n = counts.clamp(min=1)
        self.margin = self.cosine_scale * self.max_margin * (n.min() / n) ** 0.25
        weight = 1 / (1 - self.drw_beta**n)
        self.weight = weight / ((counts * weight).sum() / counts.sum())

    def start_epoch(self, epoch: int, predict: Predict) -> None:
        self.weighs = self.drw_after_epochs is not None and epoch > self.drw_after_epochs

    def forward(self, logits: Tensor, target: Tensor, index: Tensor | None = None) -> Tensor:
        if self.margin is None or self.weight is None:  # the config is being checked
            return F.cross_entropy(logits, target, reduction="none")
        margin = self.margin[target].to(logits.dtype)
        losses = F.cross_entropy(logits.scatter_add(1, target[:, None], -margin[:, None]), target, reduction="none")
        return self.weight[target].to(logits.dtype) * losses if self.weighs else losses
