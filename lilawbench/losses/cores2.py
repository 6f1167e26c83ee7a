"""CORES2: cross-entropy less a regulariser that makes predictions confident, and a sieve of rows."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.losses.balanced import class_counts
from lilawbench.losses.base import Predict, StatefulLoss

FLOOR = 1e-8  # of a probability in the regulariser: without it the loss has no lower bound


class CORES2(StatefulLoss):
    """Confidence-regularised sample sieve, phase 1: v (-log s_y - beta_t E_prior[-log s]).

    beta_t is 0 for `warmup_epochs`, rises evenly to `beta` over `ramp_epochs` and stays. The sieve, after
    `sieve_after_epochs`: v is 1 where the observed label is not less likely than an average one, -log s_y <=
    mean_k(-log s_k), and else 0; each batch is sieved anew. Validation rows are not sieved.

    Args:
        beta: of the last epochs, >= 0; 0 is cross-entropy, sieved.
        warmup_epochs: of plain cross-entropy, >= 0. ramp_epochs: of the rise, >= 1.
        sieve_after_epochs: finished epochs, >= 0; None: no sieve.
    Raises:
        ValueError: an option out of range.
    Source: Cheng et al. 2021, eq. 3, 5 and 6 (settings and the floor of 1e-8 from the authors' code). Deviations: a
        batch's loss is its mean over all rows, not over those that the sieve keeps; the prior is that of all observed
        labels, where the code takes away what the last epoch's sieve left out; the learning rate is train's, where the
        code divides it by 1 + beta_t. Phase 2 (semi-supervised) is not here: the paper's CORES2* figures are of it.
    """

    prior: Tensor | None  # [K]
    steps_differ = "its regulariser grows and its sieve comes in from epoch to epoch"

    def __init__(
        self,
        beta: float = 2.0,
        warmup_epochs: int = 10,
        ramp_epochs: int = 30,
        sieve_after_epochs: int | None = 30,
    ):
        super().__init__()
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta is {beta}; it must be >= 0 and finite")
        for name, value, least in (
            ("warmup_epochs", warmup_epochs, 0),
            ("ramp_epochs", ramp_epochs, 1),
            ("sieve_after_epochs", 0 if sieve_after_epochs is None else sieve_after_epochs, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value}; it must be a whole number >= {least}")
        self.beta, self.warmup_epochs, self.ramp_epochs = beta, warmup_epochs, ramp_epochs
        self.sieve_after_epochs = sieve_after_epochs
        self.beta_now, self.sieves = 0.0, False
        self.register_buffer("prior", None, persistent=False)

    def never_acts(self, epochs: int) -> list[str]:
        late = self.sieve_after_epochs
        if late is None or late < epochs:
            return []
        return [f"never sieved: loss.sieve_after_epochs is {late}, of {epochs} epochs"]

    def setup(self, num_train: int, num_classes: int, device: torch.device) -> None:
        self.prior = torch.full((num_classes,), 1 / num_classes, dtype=torch.float64, device=device)

    def observe(self, labels: Tensor) -> None:
        if self.prior is not None:
            self.prior = class_counts(labels, len(self.prior)) / len(labels)

    def start_epoch(self, epoch: int, predict: Predict) -> None:
        done = epoch - 1 - self.warmup_epochs  # of the rise, which is over within ramp_epochs
        self.beta_now = self.beta * min(max(done / max(self.ramp_epochs - 1, 1), 0.0), 1.0)
        self.sieves = self.sieve_after_epochs is not None and epoch > self.sieve_after_epochs

    def forward(self, logits: Tensor, target: Tensor, index: Tensor | None = None) -> Tensor:
        losses = F.cross_entropy(logits, target, reduction="none")
        sieves = self.sieves and index is not None
        if self.prior is None or not (self.beta_now or sieves):
            return losses
        of_each = -(logits.softmax(dim=1) + FLOOR).log()
        regularised = losses - self.beta_now * of_each @ self.prior.to(logits.dtype)
        return regularised * (losses <= of_each.mean(dim=1)).to(logits.dtype) if sieves else regularised
