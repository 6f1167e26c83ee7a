"""Confident learning: which given labels are probably wrong, and how many, from out-of-sample probabilities.

All of it is the arithmetic of Northcutt et al. 2021 ("Confident Learning: Estimating Uncertainty in Dataset Labels"),
with the choices that cleanlab 2.9 makes where the paper is silent, so that both give the same rows. Equal values keep
the order of classes and rows; cleanlab leaves them to an unstable sort, which differs between machines.
"""

import torch
from torch import Tensor

EQUAL = 1e-6  # probabilities that differ by less are the same
LOWEST_THRESHOLD = 2 * EQUAL
FILTERS = ("prune_by_noise_rate", "confident_learning", "predicted_neq_given")


def thresholds(probs: Tensor, observed: Tensor) -> Tensor:
    """Mean probability of class j over the rows that are labelled j, [K]; infinite for a class without rows.

    Args:
        probs: [N, K], of networks that did not train on the row. observed: labels, [N] int64.
    Source: eq. 2.
    """
    probs, classes = probs.double(), probs.shape[1]
    total = torch.zeros(classes, dtype=torch.float64).index_add(0, observed, probs.gather(1, observed[:, None])[:, 0])
    counts = observed.bincount(minlength=classes)
    return torch.where(counts > 0, (total / counts).clamp(min=LOWEST_THRESHOLD), torch.inf)


def confident_class(probs: Tensor, observed: Tensor) -> Tensor:
    """The class that a row is counted under, [N] int64: the likeliest of those at or above their thresholds; -1: none.

    Source: eq. 1, with the likeliest of several.
    """
    probs = probs.double()
    enough = probs >= thresholds(probs, observed) - EQUAL
    several, first = enough.sum(1) > 1, enough.int().argmax(1)
    found = torch.where(several, probs.argmax(1), first)
    return torch.where(enough.any(1), found, -1)


def confident_joint(probs: Tensor, observed: Tensor) -> Tensor:
    """Rows by given and by confident class, [K, K] int64, scaled so that each given class has its number of rows.

    Source: eq. 1 and 3 (the joint times N); whole numbers whose rows add up to those of the scaled ones.
    """
    classes, found = probs.shape[1], confident_class(probs, observed)
    at, counted = observed * classes + found, found >= 0
    joint = at[counted].bincount(minlength=classes * classes).view(classes, classes).double()
    joint.diagonal().clamp_(min=1)
    scaled = joint / joint.sum(1, keepdim=True) * observed.bincount(minlength=classes)[:, None]
    total = float(scaled.T.contiguous().numpy().sum())  # N but for its last bits, which decide what is rounded up
    scaled = scaled / total * len(observed)
    return torch.stack([_whole(row) for row in scaled])


def estimated_wrong_confident(probs: Tensor, observed: Tensor) -> int:
    """How many given labels are wrong by the confident joint: what is off its diagonal.

    Args:
        probs: [N, K], of networks that did not train on the row. observed: labels, [N] int64.
    """
    joint = confident_joint(probs, observed)
    return int(joint.sum() - joint.diagonal().sum())


def probably_wrong(probs: Tensor, observed: Tensor) -> Tensor:
    """The labels to look at, [N] bool: pruned by noise rate.

    Of the rows labelled j, as many as the confident joint counts under k are taken, those of the largest
    p_k - p_j; a class keeps one row at least, and a row whose label is the likeliest keeps its label.

    Args:
        probs: [N, K], of networks that did not train on the row. observed: labels, [N] int64.
    Source: section 3.2, method 4 (PBNR).
    """
    probs, classes = probs.double(), probs.shape[1]
    counts = _pruned(confident_joint(probs, observed))
    wrong = torch.zeros(len(observed), dtype=torch.bool)
    for given in range(classes):
        rows = torch.nonzero(observed == given)[:, 0]
        if len(rows) < 2:
            continue
        own = probs[rows]
        for other in torch.nonzero(counts[given])[:, 0].tolist():
            if other != given:
                order = (own[:, given] - own[:, other]).argsort(stable=True)
                wrong[rows[order[: int(counts[given, other])]]] = True
    return wrong & _predicted_otherwise(probs, observed)


def label_issues(probs: Tensor, observed: Tensor, filter_by: str = "prune_by_noise_rate") -> Tensor:
    """The labels that are probably wrong, [N] bool, by one of cleanlab's filters.

    Args:
        probs: [N, K], of networks that did not train on the row. observed: labels, [N] int64.
        filter_by: "prune_by_noise_rate", see `probably_wrong` | "confident_learning", rows that count under another
            class than the given one, by `confident_class` | "predicted_neq_given", rows whose label is not the
            likeliest. A row whose label is the likeliest keeps it by all of them.
    Raises:
        ValueError: another filter.
    """
    if filter_by not in FILTERS:
        raise ValueError(f"filter_by is {filter_by!r}; it must be one of {list(FILTERS)}")
    if filter_by == "prune_by_noise_rate":
        return probably_wrong(probs, observed)
    otherwise = _predicted_otherwise(probs.double(), observed)
    if filter_by == "predicted_neq_given":
        return otherwise
    found = confident_class(probs, observed)
    return otherwise & (found >= 0) & (found != observed)


def _predicted_otherwise(probs: Tensor, observed: Tensor) -> Tensor:
    """Rows whose label is not the likeliest, nor as likely as it, [N] bool."""
    nearly = probs.scatter_add(1, observed[:, None], torch.full_like(probs[:, :1], EQUAL))
    return nearly.argmax(1) != observed


def _pruned(joint: Tensor) -> Tensor:
    """How many rows of each given class to prune for each other class, [K, K] int64; one row of a class stays."""
    added = (1 - joint.diagonal()).clamp(min=0)
    others = (torch.count_nonzero(joint, dim=1) - 1).clamp(min=1)
    counts = (joint - (added / others)[:, None]).clamp(min=0)
    counts.diagonal().copy_(joint.diagonal() + added)
    return torch.stack([_whole(column) for column in counts.trunc().T]).T


def _whole(values: Tensor) -> Tensor:
    """Rounded to whole numbers with the same sum, [K] int64, of which those change that rounding moved most."""
    whole = values.round()
    while missing := round(float(values.sum().round() - whole.sum())):
        order = (values - whole).argsort(stable=True)
        order = order.flip(0) if missing > 0 else order
        whole[order[: abs(missing)]] += 1 if missing > 0 else -1
    return whole.long()
