"""WANN: rows are classified by the vote of their nearest training rows; nothing is trained.

    eta_i = 1 / k_i      k_i: the smallest k in {k_min, k_min + 2, ..., k_max} at which the k nearest other training
                         rows outvote all but label y_i; k_max where none does                     (Eq. 1)
    k(x)  = k_i of the training row i that is nearest to x                                         (Eq. 2)
    p_c(x) ~ sum of eta_i over the k(x) nearest training rows i with y_i = c                       (Eq. 3, 4)

It is a baseline for rows that are features already: `dataset=embeddings`, a linear probe with cached features.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.loading.batch import Batch
from lilawbench.losses import ce
from lilawbench.methods.base import Loss, Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.tasks import CLASSES

WEIGHTINGS, DISTANCES = ("reliability", "distance", "none"), ("cosine", "euclidean")
NUMBERS = 1 << 25  # similarities or votes at a time, 128 MB
FLOOR = 1e-4  # of a probability: a class without a vote has one, or its cross-entropy is infinite


def neighbours(
    query: Tensor, rows: Tensor, count: int, distance: str = "cosine", others: bool = False
) -> tuple[Tensor, Tensor]:
    """Similarities (the cosine, or minus the distance) and numbers of the nearest of rows, [Q, count], nearest first.

    Args:
        query: [Q, D]. rows: [N, D]; query itself where `others` leaves each row out of its own neighbours.
    """
    if distance == "cosine":
        query, rows = F.normalize(query, dim=1), F.normalize(rows, dim=1)
    values, indices = [], []
    for start in range(0, len(query), size := max(1, NUMBERS // len(rows))):
        part = query[start : start + size]
        near = part @ rows.T if distance == "cosine" else torch.cdist(part, rows).neg()
        if others:
            near.diagonal(start).fill_(-torch.inf)
        value, index = near.topk(count)
        values.append(value)
        indices.append(index)
    return torch.cat(values), torch.cat(indices)


def neighbourhoods(labels: Tensor, of_neighbours: Tensor, num_classes: int, k_min: int, k_max: int) -> Tensor:
    """k_i of each training row, [N] int64. Of classes with as many votes the one with the smaller number wins.

    Args:
        labels: observed, [N] int64. of_neighbours: labels of the k_max nearest other rows, the nearest first, [N, M].
            With fewer other rows than k_max, M of them.
    Source: Di Salvo et al. 2025, Algorithm 1.
    """
    most = of_neighbours.shape[1]
    tried = list(range(min(k_min, most), most + 1, 2))
    order = torch.arange(num_classes, device=labels.device)
    found = []
    for start in range(0, len(labels), size := max(1, NUMBERS // (len(tried) * num_classes))):
        own, near = labels[start : start + size], of_neighbours[start : start + size]
        votes = F.one_hot(near, num_classes).cumsum(1)[:, [k - 1 for k in tried]]
        right = (votes * num_classes - order).argmax(2) == own[:, None]  # [n, tried]
        first = right.int().argmax(1)
        sizes = torch.tensor(tried, device=labels.device)[first]
        found.append(torch.where(right.any(1), sizes, min(k_max, most)))
    return torch.cat(found)


class WANN(Method):
    """Weighted adaptive nearest neighbours (Di Salvo et al. 2025). Every epoch predicts the same: one is enough.

    The rows are compared as they enter the network: vectors, features of a frozen network, else all pixels. The network
    takes no part and learns nothing. Training rows are judged by the vote of the other rows, also in `train_loss`.

    Args:
        loss: per-sample loss that the votes of the training rows are measured by.
        k_min, k_max: smallest and largest neighbourhood that is tried, 1 <= k_min <= k_max.
        k: a fixed number of neighbours for all rows to predict, >= 1; None: that of the nearest training row.
        weighting: of a neighbour's vote: "reliability", eta; "distance", exp(similarity / temperature); "none". With
            "none" it is adaptive kNN, with a fixed k also plain kNN.
        temperature: of weighting=distance, > 0.
        distance: "cosine" | "euclidean".
    Raises:
        ValueError: any of these out of range.
    Source: Di Salvo et al. 2025 ("An Embedding is Worth a Thousand Noisy Labels"), Eq. 1 to 4. Deviations: a
        probability is at least 1e-4; without the paper's dimension reduction.
    """

    tasks = CLASSES
    compares_inputs = True
    suspicion: ClassVar = {"reliability": -1, "voted_label": 1}
    rows: Tensor  # training rows, [N, D]
    labels: Tensor  # observed, [N]
    sizes: Tensor  # k_i, [N]
    votes: Tensor  # log-probabilities of each training row by the others, [N, K]

    def __init__(
        self,
        loss: Loss = ce,
        k_min: int = 11,
        k_max: int = 51,
        k: int | None = None,
        weighting: str = "reliability",
        temperature: float = 0.1,
        distance: str = "cosine",
    ):
        super().__init__(loss)
        if not isinstance(k_min, int) or not isinstance(k_max, int) or not 1 <= k_min <= k_max:
            raise ValueError(f"k_min is {k_min} and k_max {k_max}; they must be whole numbers, 1 <= k_min <= k_max")
        if k is not None and (not isinstance(k, int) or k < 1):
            raise ValueError(f"k is {k}; it must be null or a whole number >= 1")
        for name, value, allowed in (("weighting", weighting, WEIGHTINGS), ("distance", distance, DISTANCES)):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it must be one of {list(allowed)}")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be > 0")
        self.k_min, self.k_max, self.k = k_min, k_max, k
        self.weighting, self.temperature, self.distance = weighting, temperature, distance

    @torch.no_grad()
    def setup(self, ctx: Context) -> None:
        super().setup(ctx)
        batches = list(ctx.in_order())
        index, parts = torch.cat([b.index for b in batches]), torch.cat([b.input.flatten(1) for b in batches])
        rows = parts.new_zeros(ctx.num_train, parts.shape[1]).index_copy_(0, index, parts)
        self.register_buffer("rows", ctx.world.sum_(rows), persistent=False)
        near, numbers = neighbours(self.rows, self.rows, min(self.k_max, len(rows) - 1), self.distance, others=True)
        labels, classes = ctx.targets, ctx.num_classes
        sizes = neighbourhoods(labels, labels[numbers], classes, self.k_min, self.k_max)
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)
        if self.k is not None and self.k > self.k_max:
            near, numbers = neighbours(self.rows, self.rows, min(self.k, len(rows) - 1), self.distance, others=True)
        self.register_buffer("votes", self._vote(near, numbers, classes), persistent=False)

    def loss(self, ctx: Context, batch: Batch) -> StepOutput:
        votes = self.votes.index_select(0, batch.index)
        nothing = torch.stack([(0 * p).sum() for p in ctx.model.parameters() if p.requires_grad]).sum()
        return StepOutput(self.sample_losses(votes, batch).mean() + nothing, votes)

    def predict(self, ctx: Context, input: Tensor) -> Tensor:
        """Log-probabilities [B, K] of the vote."""
        count = min(self.k or self.k_max, len(self.rows))
        with torch.no_grad():
            votes = self._vote(*neighbours(input.flatten(1), self.rows, count, self.distance), ctx.num_classes)
        # a vote has no slope: under an attack, which asks for one, it is 0
        return votes + 0 * input.flatten(1).sum(1, keepdim=True) if input.requires_grad else votes

    def sample_values(self) -> dict[str, Tensor]:
        """eta, and the class that the other rows vote for, [N]."""
        return {**super().sample_values(), "reliability": 1 / self.sizes, "voted_label": self.votes.argmax(1)}

    def _vote(self, near: Tensor, numbers: Tensor, num_classes: int) -> Tensor:
        """Log-probabilities [B, K] from similarities and numbers of the nearest training rows, [B, M]."""
        weight = torch.ones_like(near)
        if self.weighting == "reliability":
            weight = (1 / self.sizes).to(near.dtype)[numbers]
        elif self.weighting == "distance":
            weight = ((near - near[:, :1]) / self.temperature).exp()
        size = self.sizes[numbers[:, :1]] if self.k is None else self.k
        weight = weight * (torch.arange(near.shape[1], device=near.device) < size)
        votes = near.new_zeros(len(near), num_classes).scatter_add_(1, self.labels[numbers], weight)
        probs = (votes / votes.sum(1, keepdim=True)).clamp(min=FLOOR)
        return (probs / probs.sum(1, keepdim=True)).log()
