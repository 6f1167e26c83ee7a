"""Instance-dependent noise: whether and where a label moves depends on its own input."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from lilawbench.noise.checks import checked_labels, checked_rate

CHUNK_NUMBERS = 1 << 24  # of inputs held as float64 at once: 128 MB


class Instance:
    """Noise that follows the input: P(observed = j | x, clean = y) = q * softmax_{j != y}(x W_y)_j, and 1 - q for y.

    Each row has its own rate q, drawn from the normal N(rate, std^2) truncated to [0, 1], and each class y its own
    random projection W_y [D, K] of standard normals. Inputs count as they are stored, images as bytes 0..255: there
    the largest projection takes nearly all of the softmax, so that similar images move to the same class.

    The trap: truncation lifts the mean of q where rate is within 2 std of 0. At std .1 a rate of .1 moves .129 of the
    labels, .2 moves .206, and from .3 to .7 it moves what it says. Rate 0 moves none.

    Args:
        rate: centre of the normal that the rows' rates come from, in [0, 1).
        std: its standard deviation, > 0.
    Raises:
        ValueError: rate outside [0, 1), std not > 0.
    Source: Xia et al. 2020, algorithm 2, and its authors' code (std .1, bytes). Deviations: rate 0 moves no label;
    there it would move .08 of them.
    """

    def __init__(self, rate: float, std: float = 0.1):
        if not 0 < std < np.inf:
            raise ValueError(f"std is {std}; it must be > 0")
        self.rate, self.std = checked_rate(rate), std

    def __call__(
        self,
        clean: np.ndarray,
        num_classes: int,
        generator: np.random.Generator,
        inputs: Callable[[np.ndarray], Tensor],
    ) -> np.ndarray:
        """Observed labels, [N] int64.

        Args:
            clean: labels, [N] int64 in 0..K-1. Not modified.
            inputs: row numbers [n] int64 of `clean` -> their inputs [n, ...]; asked for a chunk of a class at a time,
                and, after the first row, only for rows whose labels move.
        Raises:
            ValueError: fewer than two classes, a label outside 0..K-1.
        """
        from scipy.stats import truncnorm

        if num_classes < 2:
            raise ValueError(f"{num_classes} class leaves no other class to move a label to")
        checked_labels(clean, num_classes)
        observed = np.array(clean, dtype=np.int64)
        if self.rate == 0 or not len(clean):
            return observed
        features = inputs(np.arange(1)).numel()
        size = max(1, CHUNK_NUMBERS // features)  # rows per chunk
        low, high = -self.rate / self.std, (1 - self.rate) / self.std
        rates = truncnorm.rvs(low, high, self.rate, self.std, size=len(clean), random_state=generator)
        moved = generator.random(len(clean)) < rates
        for own in range(num_classes):
            projection = generator.standard_normal((features, num_classes))
            rows = np.flatnonzero(moved & (clean == own))
            for part in np.split(rows, range(size, len(rows), size)):
                flat = inputs(part).reshape(len(part), features).double().numpy()
                observed[part] = draw_other(flat @ projection, own, generator)
        return observed


def draw_other(scores: np.ndarray, own: int, generator: np.random.Generator) -> np.ndarray:
    """One class of each row from the softmax of its scores [n, K] without the column `own`; [n] int64.

    By the Gumbel maximum, which needs no probabilities: argmax_j (score_j + g_j) with standard Gumbel g_j.
    """
    perturbed = scores + generator.gumbel(size=scores.shape)
    perturbed[:, own] = -np.inf
    return perturbed.argmax(axis=1)
