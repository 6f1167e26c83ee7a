"""Losses that know how often each class is observed: they expect of a class what it has of the training rows."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.losses.base import StatefulLoss


def class_counts(labels: Tensor, num_classes: int) -> Tensor:
    """How many of labels [N] int64 are of each class, [K] float64; the host need not wait for it."""
    ones = torch.ones(len(labels), dtype=torch.float64, device=labels.device)
    return ones.new_zeros(num_classes).index_add_(0, labels, ones)


def log_counts(counts: Tensor) -> Tensor:
    """log n_k, [K]: what Balanced Softmax adds to the logits. A class without a row counts as one of one row."""
    return counts.clamp(min=1).log()


class LogitAdjustment(StatefulLoss):
    """Logit-adjusted cross-entropy, CE(z + tau log pi, y) with pi the classes' shares of the observed labels.

    Predictions are those of z alone, which owes nothing to how frequent a class is. With equal shares, or tau = 0, it
    is cross-entropy. Labels that are wrong count as they are observed: noise that evens the classes out weakens it.

    Args:
        tau: strength, >= 0. 1 is Fisher consistent for the balanced error, and Balanced Softmax.
    Raises:
        ValueError: tau out of range.
    Source: Menon et al. 2021, eq. 10. Deviations: a class without a row counts as one of one row.
    """

    log_prior: Tensor | None  # [K]
    steps_differ = None

    def __init__(self, tau: float = 1.0):
        super().__init__()
        if not 0 <= tau < math.inf:
            raise ValueError(f"tau is {tau}; it must be >= 0 and finite")
        self.tau = tau
        self.register_buffer("log_prior", None, persistent=False)

    def setup(self, num_train: int, num_classes: int, device: torch.device) -> None:
        self.log_prior = torch.zeros(num_classes, dtype=torch.float64, device=device)

    def observe(self, labels: Tensor) -> None:
        if self.log_prior is not None:
            self.log_prior = log_counts(class_counts(labels, len(self.log_prior))) - math.log(len(labels))

    def forward(self, logits: Tensor, target: Tensor, index: Tensor | None = None) -> Tensor:
        if self.log_prior is not None:  # else the config is being checked
            logits = logits + self.tau * self.log_prior.to(logits.dtype)
        return F.cross_entropy(logits, target, reduction="none")


class BalancedSoftmax(LogitAdjustment):
    """Balanced Softmax, CE(z + log n, y) with n the observed classes' counts: `LogitAdjustment` of tau = 1.

    Predictions are those of plain z.

    Source: Ren et al. 2020, theorem 1. Deviations: a class without a row counts as one of one row.
    """

    def __init__(self) -> None:
        super().__init__(tau=1.0)
