"""Rockafellian relaxation: sample i weighs p_i = 1/N + u_i; u moves towards the optimum of

    min_u  sum_i (1/N + u_i) c_i + s gamma ||u||_1    s.t.  sum_i u_i = 0,  u_i >= -1/N

where c are the losses of the whole training set and s is the penalty scale. The optimum has a closed form
(Corollary 3.1.1).
"""

import math

import torch
from torch import Tensor, nn

from lilawbench.support import host


def reweight(
    losses: Tensor, gamma: float | None = None, contamination: float | None = None, penalty_scale: float = 0.5
) -> Tensor:
    """The re-weighting u* of Corollary 3.1.1: prune (u = -1/N) every sample whose loss exceeds the smallest by more
    than the threshold, give the mass to the samples of the smallest loss in equal parts, leave the rest (u = 0).

    It solves the linear program in the head of this file, in time linear in N, without sorting, on the losses' device.

    Args:
        losses: c, [N], any finite values.
        gamma: threshold, > 0; not used if `contamination` is given.
        contamination: C' in [0, 1): prune at least C' N samples, those of the largest losses, and more only where
            losses tie at the limit; none if the limit is the smallest loss.
        penalty_scale: s; the threshold is 2 s gamma: 0.5 is Eq. 2, 1.0 is Algorithm 3 as printed.
    Returns:
        u, [N] float64; sums to 0, u >= -1/N.
    Raises:
        ValueError: losses empty or not finite, gamma <= 0, contamination outside [0, 1), penalty_scale <= 0.
    Source: RRM, Corollary 3.1.1 and Section 3.5.1. Deviations: none.
    """
    _check_threshold(gamma, contamination, penalty_scale)
    ends = torch.stack(losses.aminmax()) if len(losses) else losses.new_full((2,), math.nan)
    smallest, largest = host.read(ends, "losses to re-weight")
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise ValueError(
            f"losses are {smallest} to {largest} over {len(losses)} samples; there must be some, all of them finite"
        )
    count = 0 if contamination is None else math.ceil(contamination * len(losses) - 1e-9)
    if contamination is None and gamma is not None:
        pruned = losses > smallest + 2 * penalty_scale * gamma
    elif count:
        limit = losses.topk(count, sorted=False).values.amin()  # kthvalue takes ten times as long on CUDA
        pruned = (losses >= limit) & (limit > smallest)
    else:
        pruned = torch.zeros_like(losses, dtype=torch.bool)
    least = losses == smallest
    share = pruned.sum(dtype=torch.float64) / (len(losses) * least.sum())
    return least.double().mul_(share).add_(pruned, alpha=-1 / len(losses))


class Rockafellian(nn.Module):
    """The weights of N samples and how they move, for RRM and for methods whose supervised term it re-weights.

    Its buffers are the state; `weight` follows from them.

    Args:
        gamma, contamination, penalty_scale: see `reweight`. A contamination estimate sets gamma, and mu to 1.
        mu: step of the re-weighting, u <- mu u* + (1 - mu) u, in (0, 1].
        more: for the class that comes next, where this one is a base of several.
    Raises:
        ValueError: any of these out of range.
    Source: RRM, Algorithms 1-3. Deviations: none that is not an option.
    """

    u: Tensor
    lowest_weight: Tensor  # of N p_i, in any epoch
    pruned: Tensor  # by the last round
    round: Tensor
    weight: Tensor  # N p_i, [N] float32, mean 1

    def __init__(
        self,
        gamma: float | None = 0.4,
        mu: float = 0.5,
        contamination: float | None = None,
        penalty_scale: float = 0.5,
        **more: object,
    ):
        super().__init__(**more)
        _check_threshold(gamma, contamination, penalty_scale)
        if not 0 < mu <= 1:
            raise ValueError(f"mu is {mu}; it must lie in (0, 1]")
        self.gamma, self.contamination, self.penalty_scale = gamma, contamination, penalty_scale
        self.mu = 1.0 if contamination is not None else mu

    def allocate(self, count: int, device: torch.device) -> None:
        """Starts with all N = `count` samples alike; before a checkpoint is loaded."""
        self.register_buffer("u", torch.zeros(count, dtype=torch.float64, device=device))
        self.register_buffer("lowest_weight", torch.ones(count, device=device))
        self.register_buffer("pruned", torch.zeros(count, dtype=torch.bool, device=device))
        self.register_buffer("round", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("weight", torch.ones(count, device=device), persistent=False)

    def restore(self) -> None:
        """Makes `weight` that of u; after a checkpoint was loaded."""
        self.weight = (1 + len(self.u) * self.u).float()

    def move(self, losses: Tensor, rows: Tensor | None = None) -> None:
        """One round of re-weighting.

        Args:
            losses: c of the samples `rows`, [n].
            rows: their numbers, [n] int64. They share out the mass that they have among themselves, and the others
                keep theirs. None: all samples.
        Raises:
            ValueError: see `reweight`.
        """
        best = reweight(losses, self.gamma, self.contamination, self.penalty_scale)
        at: Tensor | slice = slice(None) if rows is None else rows
        self.u, self.pruned = self.u.clone(), self.pruned.clone()
        self.u[at], self.pruned[at] = self._moved(self.u[at], best), best < 0
        self.round = self.round + 1
        self.restore()
        self.lowest_weight = torch.minimum(self.lowest_weight, self.weight)

    def said(self) -> dict[str, float | Tensor]:
        """Rounds so far, and the share that the last one pruned."""
        rounds, pruned = host.read(torch.stack([self.round.double(), self.pruned.double().mean()]), "re-weightings")
        return {"reweightings": int(rounds), "pruned": pruned}

    def values(self) -> dict[str, Tensor]:
        """What metrics/crossing.py's `pruning` compares with clean labels, [N] each."""
        self.restore()
        return {"weight": self.weight, "pruned": self.pruned, "lowest_weight": self.lowest_weight}

    def _moved(self, u: Tensor, best: Tensor) -> Tensor:
        """mu u* + (1 - mu) u of n rows, [n], with u* = m (1/n + best) - 1/N: the sum m of their p stays the same.

        Args:
            best: their re-weighting as if they were all, [n]; of all N rows it is u*.
        """
        count = len(self.u)
        if len(best) < count:
            best = (u + 1 / count).sum() * (1 / len(best) + best) - 1 / count
        return (self.mu * best + (1 - self.mu) * u).clamp_(min=-1 / count)


def _check_threshold(gamma: float | None, contamination: float | None, penalty_scale: float) -> None:
    if contamination is None and (gamma is None or not 0 < gamma < math.inf):
        raise ValueError(f"gamma is {gamma}; it must be > 0 (or give contamination)")
    if contamination is not None and not 0 <= contamination < 1:
        raise ValueError(f"contamination is {contamination}; it must lie in [0, 1)")
    if not 0 < penalty_scale < math.inf:
        raise ValueError(f"penalty_scale is {penalty_scale}; it must be > 0")
