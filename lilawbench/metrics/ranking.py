"""How well scores rank the samples with a label above those without it, one figure per column.

Sorted from the highest score down, with samples of one score on one rank. Counts are whole numbers, so the sums behind
them are exact and the same on every device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LARGEST = 1 << 24  # scores that are sorted at once: of 50,000 samples, 335 classes


def auroc(scores: Tensor, truth: Tensor) -> Tensor:
    """Area under the ROC curve: P(a sample with the label scores higher than one without), ties counting half.

    Args:
        scores: [N, K]. truth: [N, K] bool.
    Returns:
        [K] float64; NaN where all samples or none have the label.
    """

    return _by_columns(_area, scores, truth)


def average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean, over the samples with the label, of the precision among all samples that score at least as high.

    Args:
        scores: [N, K]. truth: [N, K] bool.
    Returns:
        [K] float64; NaN where no sample has the label.
    """
    return _by_columns(_precision, scores, truth)


def auroc_and_average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Both, [2, K], from one sort."""
    return _by_columns(lambda *ranks: torch.stack([_area(*ranks), _precision(*ranks)]), scores, truth)


def _area(hit: Tensor, positives: Tensor, samples: Tensor) -> Tensor:
    yes = hit.sum(dim=1)
    no = hit.shape[1] - yes
    negatives_below = no[:, None] - (samples - positives)
    # pairs in the right order are counted twice, once from either side, and tied ones once
    pairs = ((1 - hit) * positives + hit * negatives_below).sum(dim=1)
    return pairs.double() / (2 * yes * no)


def _precision(hit: Tensor, positives: Tensor, samples: Tensor) -> Tensor:
    return (hit * positives.double() / samples).sum(dim=1) / hit.sum(dim=1)


def _by_columns(measure: Callable[[Tensor, Tensor, Tensor], Tensor], scores: Tensor, truth: Tensor) -> Tensor:
    """measure(hit, positives, samples) of columns, some at a time: each [k, N], by falling score.

    hit: whether a sample has the label, 0 or 1; positives, samples: how many of those with the label, and of all, score
    at least as high.
    """
    width = max(1, LARGEST // max(1, len(scores)))
    parts = zip(scores.T.split(width), truth.T.split(width), strict=True)
    return torch.cat([measure(*_cumulated(*part)) for part in parts], dim=-1)


def _cumulated(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value, order = scores.contiguous().sort(dim=1, descending=True, stable=True)
    hit = truth.long().gather(1, order)
    place = torch.arange(value.shape[1], device=value.device).expand_as(value)
    tied = torch.nn.functional.pad(value[:, 1:] == value[:, :-1], (0, 1))  # with the next one
    end = place.masked_fill(tied, value.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    return hit, hit.cumsum(dim=1).gather(1, end), end + 1
