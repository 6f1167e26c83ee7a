"""ELR: cross-entropy and a pull towards the model's earlier predictions for the same sample."""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.losses.base import StatefulLoss

CLIP = 1e-4  # keeps 1 - <s, t> away from 0


def pull(log_s: Tensor, t: Tensor) -> Tensor:
    """log(1 - <s, t>) of each row, [B] in (-9, 0], with s clipped to [1e-4, 1 - 1e-4].

    Args:
        log_s: logarithms of predictions, [B, K]. t: targets, [B, K], rows sum to at most 1.
    """
    return torch.log1p(-(log_s.exp().clamp(CLIP, 1 - CLIP) * t).sum(dim=1))


class ELR(StatefulLoss):
    """Early-learning regularisation, -log s_y + lam log(1 - <s, t_i>), with t_i <- beta t_i + (1 - beta) s / sum(s).

    t_i remembers the predictions for training sample i, from before the network memorised the wrong labels. In both
    places s is clipped to [1e-4, 1 - 1e-4], so that the term has no gradient where s leaves that range. The logarithm
    lies in (-9, 0]: the loss may be negative. Samples without history (no index) have cross-entropy alone.

    Args:
        lam: strength of the term (the paper's lambda), >= 0. CIFAR-10: 3, CIFAR-100: 7.
        beta: memory of the target, in [0, 1). CIFAR-10: .7, CIFAR-100: .9.
    Raises:
        ValueError: an option out of range.
    Source: Liu et al. 2020, section 4; clipping, normalisation, t_i = 0 at the start and the order (t_i takes in the
        current prediction before the term uses it) are those of the authors' code.
    """

    suspicion: ClassVar = {"elr_target": -1}
    steps_differ = None

    def __init__(self, lam: float = 3.0, beta: float = 0.7):
        super().__init__()
        if not 0 <= lam < math.inf:
            raise ValueError(f"lam is {lam}; it must be >= 0 and finite")
        if not 0 <= beta < 1:
            raise ValueError(f"beta is {beta}; it must lie in [0, 1)")
        self.lam, self.beta = lam, beta
        self.register_buffer("t", None)
        self.register_buffer("seen", None, persistent=False)

    def setup(self, num_train: int, num_classes: int, device: torch.device) -> None:
        self.t = torch.zeros(num_train, num_classes, device=device)
        self.seen = torch.zeros(num_train, device=device)  # by this process in this epoch

    @torch.no_grad()
    def update(self, logits: Tensor, index: Tensor) -> None:
        s = logits.to(self.t.dtype).softmax(dim=1).clamp_(CLIP, 1 - CLIP)
        s /= s.sum(dim=1, keepdim=True)
        self.t.index_copy_(0, index, s.lerp_(self.t[index], self.beta))
        self.seen.index_fill_(0, index, 1)

    def forward(self, logits: Tensor, target: Tensor, index: Tensor | None = None) -> Tensor:
        log_s = logits.log_softmax(dim=1)
        loss = F.nll_loss(log_s, target, reduction="none")
        if index is None:
            return loss
        return loss + self.lam * pull(log_s, self.t[index])

    def end_epoch(self, sum_: Callable[[Tensor], Tensor]) -> None:
        trained = sum_(self.t * self.seen[:, None])
        times = sum_(self.seen)[:, None]  # more than once where processes did the same rows
        self.t = torch.where(times > 0, trained / times.clamp(min=1), self.t)
        self.seen = torch.zeros_like(self.seen)

    def sample_values(self, observed: Tensor) -> dict[str, Tensor]:
        """elr_target: the share of the given label in t_i, [N] in [0, 1]; 0 for samples never trained on."""
        given = self.t.gather(1, observed[:, None])[:, 0]
        return {"elr_target": given / self.t.sum(1).clamp(min=CLIP)}
