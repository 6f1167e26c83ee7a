"""SimiFeat: labels that nearest neighbours in a space of features do not share. It needs no training."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lilawbench.metrics.consensus import MOST_CLASSES, wrong_shares
from lilawbench.probes.detectors.base import Detector, Look

FEATURES = ("auto", "inputs", "network")
NUMBERS = 1 << 25  # similarities at a time, 128 MB


class SimiFeat(Detector):
    """i - q_y, where i is 1 for rows that are counted as wrong and 0 for the others: above 0 the former, below 0 the
    latter.

    q_k is the share of class k among the row and its k - 1 nearest neighbours by cosine similarity, each with that
    similarity as its weight. Of the rows with label j, the share 1 - P(true = j given observed = j) of the smallest
    q_y is counted as wrong, a share that follows from how neighbours' labels agree (`metrics/consensus.py`); with more
    than 100 classes, from how many labels lose the vote of `SimiFeatVote`.

    High: rows among neighbours that have other labels. Takes N^2 D operations: a minute for 50,000 rows. Without
    features (rows that are no vectors, a last layer that is not dense) all are nan.

    Args:
        k: neighbours with the row itself, >= 3.
        features: inputs, rows that are vectors, such as those of dataset=embeddings | network, what enters its last
            layer (which learnt the wrong labels, too) | auto: inputs if they are vectors, else network.
    Raises:
        ValueError: an option out of range.
    Source: Zhu et al. 2022, algorithm 1, SimiFeat-R. Deviations: one round on features as they are, where theirs is a
        vote over 21 of augmented images; rows rank by -log q_y as in their code, without the paper's mean over classes
        (that of log 1e-8 for each class without a neighbour), and without the random part of their shares.
    """

    needs_features = True
    when_asked = True

    def __init__(self, k: int = 10, features: str = "auto"):
        if k < 3:
            raise ValueError(f"k is {k}; it must be >= 3")
        if features not in FEATURES:
            raise ValueError(f"features is {features!r}; it must be {', '.join(FEATURES)}")
        self.k, self.features = k, features

    def setup(self, num_train: int, num_classes: int) -> None:
        self.num_classes = num_classes
        self.value_now = torch.full((num_train,), torch.nan, dtype=torch.float64)

    def see(self, look: Look) -> None:
        features = self._of(look)
        if features is None or len(features) < 3:
            return
        similarity, neighbours = nearest(features, min(self.k, len(look.observed)) - 1)
        shares = class_shares(similarity, neighbours, look.observed, self.num_classes)
        self.value_now = self._value(shares, neighbours, look.observed)

    def scores(self) -> Tensor:
        return self.value_now

    def _of(self, look: Look) -> Tensor | None:
        found = None if self.features == "network" else look.inputs()
        return look.plain.features if found is None and self.features != "inputs" else found

    def _value(self, shares: Tensor, neighbours: Tensor, observed: Tensor) -> Tensor:
        given = shares.gather(1, observed[:, None])[:, 0]
        if self.num_classes > MOST_CLASSES:
            lost = (shares.argmax(1) != observed).double()
            counts = observed.bincount(minlength=self.num_classes).clamp(min=1)
            share = torch.zeros(self.num_classes, dtype=torch.float64).index_add(0, observed, lost) / counts
        else:
            share = wrong_shares(observed, neighbours[:, :2], self.num_classes)
        return least_of_each(given, observed, share) - given


class SimiFeatVote(SimiFeat):
    """i - q_y, where i is 1 for rows whose label loses the vote of their neighbours, argmax_k q_k != y, and 0 for the
    others; q as in `SimiFeat`: above 0 the former, below 0 the latter.

    High: rows among neighbours that have other labels.

    Source: Zhu et al. 2022, algorithm 1, SimiFeat-V. Deviations: see `SimiFeat`.
    """

    def _value(self, shares: Tensor, neighbours: Tensor, observed: Tensor) -> Tensor:
        return (shares.argmax(1) != observed).double() - shares.gather(1, observed[:, None])[:, 0]


def nearest(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosine similarities and numbers of the nearest other rows, [N, count] each, the nearest first.

    Args:
        features: [N, D].
    """
    unit = normalize(features.float(), dim=1)
    similarities, rows = [], []
    for start in range(0, len(unit), size := max(1, NUMBERS // len(unit))):
        part = unit[start : start + size] @ unit.T
        part[torch.arange(len(part)), torch.arange(start, start + len(part))] = -torch.inf
        values, indices = part.topk(count)
        similarities.append(values)
        rows.append(indices)
    return torch.cat(similarities), torch.cat(rows)


def class_shares(similarity: Tensor, neighbours: Tensor, observed: Tensor, num_classes: int) -> Tensor:
    """q: shares of the classes among each row and its neighbours, weighted by similarity, [N, K] float64.

    The row's own weight is as far above the nearest neighbour's as that is above the second's.
    """
    weight = similarity.double().clamp(min=0)
    own = (2 * weight[:, 0] - weight[:, 1])[:, None]
    shares = torch.zeros(len(observed), num_classes, dtype=torch.float64)
    shares.scatter_add_(1, observed[neighbours], weight)
    shares.scatter_add_(1, observed[:, None], own)
    return shares / shares.sum(1, keepdim=True).clamp(min=1e-12)


def least_of_each(values: Tensor, observed: Tensor, share: Tensor) -> Tensor:
    """1 for the rows of the smallest values among those of their class, as many as its share, else 0; [N] float64.

    Args:
        values: [N]. observed: [N] int64. share: of each class, [K] in [0, 1].
    """
    found = torch.zeros(len(values), dtype=torch.float64)
    for label, part in enumerate(share.tolist()):
        rows = torch.nonzero(observed == label)[:, 0]
        found[rows[values[rows].argsort(stable=True)[: round(part * len(rows))]]] = 1
    return found
