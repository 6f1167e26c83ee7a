"""How far confidence can be trusted: calibration errors, proper scores, and the temperature that mends confidence.

    probabilities = softmax(logits / T), of several labels sigmoid(logits / T)

One T > 0 leaves the order of a sample's logits as it is, so no prediction changes. All sums are in float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15
BLOCK = 1 << 17  # logits worked on at once, a megabyte: more leave the cache of a processor
Slope = Callable[[Tensor], tuple[Tensor, Tensor]]


class Calibration(NamedTuple):
    """Measures by name, and a reliability diagram: [mean confidence, accuracy, count] of each bin of equal width, the
    first two to six decimals, None where it is empty."""

    measures: dict[str, float]
    diagram: list[list[float | None]]


class _Rows(NamedTuple):
    """Some rows: [n] each, of several labels [n * K], and the gaps of `_gaps`."""

    confidence: Tensor
    right: Tensor
    nll: Tensor
    brier: Tensor
    gaps: Tensor


def temperature(logits: Tensor, target: Tensor) -> Tensor:
    """The T with the smallest cross-entropy, of several labels one for each label; below 1 where confidence is too low.

    The loss is convex in 1/T; the zero of its slope is found by Newton's method, with bisection where that leaves the
    bracket.

    Args:
        logits: [N, K]. target: [N] int64, or [N, K] int64, 0 or 1.
    Returns:
        float64, [] or [K]. NaN where no T is best: all rows are right, so that T = 0 were, or the logits say less than
        chance, so that infinity were.
    Source: Guo et al. 2017, Section 4.2.
    """
    logits = logits.double()
    slope, least, most = (_slope_of_labels if target.ndim == 2 else _slope_of_classes)(logits, target)
    possible = (least < 0) & (most > 0)
    few = len(logits) // 1000  # of many rows a part tells where to begin
    first = temperature(logits[::few], target[::few]).nan_to_num(nan=1.0) if few > 1 else torch.ones_like(least)
    return torch.where(possible, 1 / _zero(slope, 1 / first, possible), torch.nan)


def scaled(logits: Tensor, temperature: Tensor) -> Tensor:
    """logits / T in float64, [N, K]; as they are where T is NaN."""
    return logits.double() / temperature.nan_to_num(nan=1.0)


def calibration(logits: Tensor, target: Tensor, temperature: Tensor | None = None) -> Calibration:
    """Calibration errors and proper scores of probabilities; less is better.

    Confidence is the largest probability, and a row is right where that is the target's class. With two classes it is
    max(p, 1 - p) of the positive one, not p. Of several labels each is a decision of its own: max(p, 1 - p) against
    whether p > 1/2 is right, all labels in one pool.

    Args:
        logits: [N, K]. target: [N] int64, or [N, K] int64, 0 or 1. temperature: see `scaled`; None: 1.
    Returns:
        The diagram over 15 bins [lower, upper) of confidence, of which the last has 1.0 too, and
        "ece": mean gap between confidence and accuracy in those bins, weighted by their rows (Naeini et al. 2015);
        "ece_mass": the same over 15 bins of equally many rows, rows of one confidence sharing their accuracy;
        "ece_class": the first of each class's probability against its frequency, mean over classes (Kull et al. 2019);
        "nll": mean cross-entropy [nat]; "brier": mean over rows of the sum over classes of (p - y)^2, from 0 to 2;
        of several labels both are means over rows and labels, and "brier" is from 0 to 1.
    """
    of_rows = _rows_of_labels if target.ndim == 2 else _rows_of_classes
    by = torch.ones((), dtype=torch.float64) if temperature is None else temperature
    step = max(1, BLOCK // logits.shape[1])
    parts = [of_rows(scaled(some, by), truth) for some, truth in zip(logits.split(step), target.split(step))]
    confidence, right, nll, brier = (torch.cat(part) for part in list(zip(*parts))[:4])
    counts, sums, rights = _binned(confidence, right)
    of_classes = torch.stack([part.gaps for part in parts]).sum(0).abs().sum(1) / len(logits)
    measures = {
        "ece": ((sums - rights).abs().sum() / len(right)).item(),
        "ece_mass": _of_equal_mass(confidence, right),
        "ece_class": of_classes.mean().item(),
        "nll": nll.mean().item(),
        "brier": brier.mean().item(),
    }
    bins = zip((sums / counts).tolist(), (rights / counts).tolist(), counts.long().tolist())
    diagram: list[list[float | None]] = [
        [round(mean, 6), round(share, 6), count] if count else [None, None, 0] for mean, share, count in bins
    ]
    return Calibration(measures, diagram)


def _rows_of_classes(logits: Tensor, target: Tensor) -> _Rows:
    probs = logits.softmax(1)
    confidence, predicted = probs.max(1)
    of_target = probs.gather(1, target[:, None])[:, 0]
    brier = torch.linalg.vecdot(probs, probs) - 2 * of_target + 1
    there = torch.arange(len(target)), target
    nll = F.cross_entropy(logits, target, reduction="none")
    return _Rows(confidence, (predicted == target).double(), nll, brier, _gaps(probs, there))


def _rows_of_labels(logits: Tensor, target: Tensor) -> _Rows:
    probs, truth = logits.sigmoid(), target.double()
    nll = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    right = ((logits > 0) == (target == 1)).double()
    confidence, brier = torch.maximum(probs, 1 - probs), (probs - truth).square()
    gaps = _gaps(probs, target.nonzero(as_tuple=True))
    return _Rows(confidence.flatten(), right.flatten(), nll.flatten(), brier.flatten(), gaps)


def _gaps(probs: Tensor, there: tuple[Tensor, ...]) -> Tensor:
    """Sum of the probabilities less number of labels, of each class and bin, [K, bins].

    Nearly all probabilities of many classes are in the first bin: its sum is that of all less those of the others.

    Args:
        probs: [n, K]. there: rows and columns of the labels that are there.
    """
    shape = probs.shape[1], BINS
    rows, columns = (probs >= 1 / BINS).nonzero(as_tuple=True)
    high = probs[rows, columns]
    sums = torch.bincount(columns * BINS + _bin_of(high), high, minlength=shape[0] * BINS).double().view(shape)
    sums[:, 0] += probs.sum(0) - sums.sum(1)
    place = there[1] * BINS + _bin_of(probs[there])
    return sums - torch.bincount(place, minlength=shape[0] * BINS).view(shape)


def _bin_of(confidence: Tensor) -> Tensor:
    inner = torch.arange(1, BINS, dtype=torch.float64) / BINS
    return torch.bucketize(confidence, inner, right=True)


def _binned(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many are in each bin, and the sums of both."""
    place = _bin_of(confidence)
    sums, rights = (torch.bincount(place, values, minlength=BINS) for values in (confidence, right))
    return torch.bincount(place, minlength=BINS).double(), sums, rights


def _of_equal_mass(confidence: Tensor, right: Tensor) -> float:
    value, order = confidence.sort()
    _, same, counts = value.unique_consecutive(return_inverse=True, return_counts=True)
    shared = torch.bincount(same, right[order]) / counts
    gap = F.pad((value - shared[same]).cumsum(0), (1, 0))
    ends = torch.arange(BINS + 1) * len(value) // BINS
    return (gap[ends].diff().abs().sum() / len(value)).item()


def _slope_of_classes(logits: Tensor, target: Tensor) -> tuple[Slope, Tensor, Tensor]:
    """Slope and curvature of the loss at b = 1/T, and its slope at b = 0 and at infinity."""
    over = logits - logits.max(dim=1, keepdim=True).values
    of_target = over.gather(1, target[:, None]).mean()

    def slope(b: Tensor) -> tuple[Tensor, Tensor]:
        means, squares = [], []
        for part in over.split(max(1, BLOCK // logits.shape[1])):
            p = (b * part).exp_()
            total = p.sum(1)
            p *= part
            means.append(p.sum(1) / total)
            squares.append(torch.linalg.vecdot(p, part) / total)
        mean = torch.cat(means)
        return mean.mean() - of_target, (torch.cat(squares) - mean.square()).mean()

    return slope, over.mean() - of_target, -of_target


def _slope_of_labels(logits: Tensor, target: Tensor) -> tuple[Slope, Tensor, Tensor]:
    of_target = (logits * target).mean(0)

    def slope(b: Tensor) -> tuple[Tensor, Tensor]:
        p = (b * logits).sigmoid()
        return (p * logits).mean(0) - of_target, (p * (1 - p) * logits.square()).mean(0)

    return slope, logits.mean(0) / 2 - of_target, logits.relu().mean(0) - of_target


def _zero(slope: Slope, b: Tensor, possible: Tensor) -> Tensor:
    """Where increasing functions are zero above 0, [] or [K], from a first guess; anything where they cannot be."""
    low, high = torch.zeros_like(b), torch.full_like(b, torch.inf)
    for _ in range(100):
        value, curvature = slope(b)
        low, high = torch.where(value <= 0, b, low), torch.where(value >= 0, b, high)
        middle = torch.where(high.isinf(), 4 * b, torch.where(low == 0, b / 4, (low * high).sqrt()))
        newton = b - value / curvature
        inside = (newton > low) & (newton < high) & (newton < 4 * b) & (newton > b / 4)
        following = torch.where(value == 0, b, torch.where(inside, newton, middle))
        done = ~possible | (
            (following - b).abs() <= 1e-9 * b
        )  # the next step of Newton's would be about the square of this one
        b = following
        if done.all():
            break
    return b
