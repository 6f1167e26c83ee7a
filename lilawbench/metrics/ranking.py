"""Measures of an order: AUROC and average precision, of each column of scores against its own yes and no.

Own code: torchmetrics takes as long to import as torch itself, and every run would wait for it. The tests compare with
scikit-learn.
"""

import torch
from torch import Tensor


def auroc(scores: Tensor, truth: Tensor) -> Tensor:
    """Area under the ROC curve, P(score of a yes > score of a no), equal scores counting half.

    Args:
        scores: [N, K]. truth: [N, K], 0 or 1.
    Returns:
        [K] float64; NaN where a column has no yes or no no.
    Source: Mann and Whitney 1947.
    """
    scores, truth = (table.cpu().double().T.contiguous() for table in (scores, truth))
    ordered = scores.sort(dim=1).values
    below = torch.searchsorted(ordered, scores)
    up_to = torch.searchsorted(ordered, scores, right=True)
    yes = truth.sum(dim=1)
    rank_sum = (truth * (below + up_to + 1) / 2).sum(dim=1)  # of average ranks, from 1
    return (rank_sum - yes * (yes + 1) / 2) / (yes * (truth.shape[1] - yes))


def average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean over the yeses of the precision among the rows that score as high or higher.

    Args:
        scores: [N, K]. truth: [N, K], 0 or 1.
    Returns:
        [K] float64; NaN where a column has no yes.
    """
    # on the CPU: CUDA's cumulative sums are not repeatable
    scores, truth = (table.cpu().double().T.contiguous() for table in (-scores, truth))
    ordered, order = scores.sort(dim=1)
    up_to = torch.searchsorted(ordered, ordered, right=True)  # rows that score as high or higher
    found = truth.gather(1, order)
    precision = found.cumsum(dim=1).gather(1, up_to - 1) / up_to
    return (precision * found).sum(dim=1) / truth.sum(dim=1)
