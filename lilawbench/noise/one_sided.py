"""One-sided noise: one class gains rows from the others and loses none."""

import numpy as np

from lilawbench.noise.checks import checked_labels, checked_rate


class OneSided:
    """Contaminates the positive labels: rows of other classes are observed as positive, never the other way round.

    As when all tiles of a slide get the slide's label: a tile called healthy is, one called diseased may not be.

    Args:
        rate: share that is wrong, in [0, 1).
        rate_of: "positives", of the labels observed as positive, P(clean != positive | observed = positive), so that
            rate / (1 - rate) rows move for each that is positive; "negatives", of the rows of other classes,
            P(observed = positive | clean != positive).
        positive: the contaminated class, in 0..K-1.
        exact: exact counts (of positives: the nearest whole number, of negatives: int(rate * N)) | False: each row of
            another class moves independently with the probability that this implies.
    Raises:
        ValueError: any of these out of range.
    Source: RRM, appendix E.3: of 3,156 images labelled necrotic a quarter are (rate .75 of the positives).
    """

    def __init__(self, rate: float, rate_of: str = "positives", positive: int = 1, exact: bool = True):
        if rate_of not in ("positives", "negatives"):
            raise ValueError(f"rate_of is {rate_of!r}; it must be positives or negatives")
        if not isinstance(positive, int) or positive < 0:
            raise ValueError(f"positive is {positive}; it must be the number of a class, from 0 on")
        self.rate, self.rate_of, self.positive, self.exact = checked_rate(rate), rate_of, positive, exact

    def __call__(self, clean: np.ndarray, num_classes: int, generator: np.random.Generator) -> np.ndarray:
        """Observed labels, [N] int64.

        Args:
            clean: labels, [N] int64 in 0..K-1. Not modified.
        Raises:
            ValueError: `positive` is not a class, a label outside 0..K-1, too few rows of other classes for the rate.
        """
        if self.positive >= num_classes:
            raise ValueError(f"positive is {self.positive}; the data set has the classes 0..{num_classes - 1}")
        checked_labels(clean, num_classes)
        observed = np.array(clean, dtype=np.int64)
        others = np.flatnonzero(observed != self.positive)
        if self.rate_of == "negatives":
            wanted = self.rate * len(others)
            count = int(wanted + 1e-9)
        else:
            wanted = (len(observed) - len(others)) * self.rate / (1 - self.rate)
            count = round(wanted)
        if count > len(others):
            raise ValueError(
                f"rate {self.rate} of the positives asks for {count} rows of other classes besides "
                f"{len(observed) - len(others)} of class {self.positive}; there are {len(others)}: lower the rate"
            )
        if self.exact:
            moved = generator.permutation(others)[:count]
        else:
            moved = others[generator.random(len(others)) * len(others) < wanted]
        observed[moved] = self.positive
        return observed
