"""EL2N, the length of the error."""

from torch import Tensor

from lilawbench.probes.detectors.base import Latest, Look


class EL2N(Latest):
    """|p - onehot(y)|_2, in [0, sqrt 2], of the last epoch up to `until` that a row trained in.

    High: rows that an early network is far from, wrong or merely hard.

    Args:
        until: epoch, >= 1; later ones, by which networks know their rows by heart, do not count.
    Raises:
        ValueError: until < 1.
    Source: Paul et al. 2021, definition 2, at epochs 10 to 20. Deviations: one network, where theirs is the mean over
    ten; p as seen in training.
    """

    paper_sign = 1

    def __init__(self, until: int = 20):
        if until < 1:
            raise ValueError(f"until is {until}; it must be >= 1")
        self.until = until

    def see(self, look: Look) -> None:
        if look.number <= self.until:
            super().see(look)

    def value(self, look: Look) -> Tensor:
        error = look.probs.scatter_add(1, look.observed[:, None], look.probs.new_full((len(look.probs), 1), -1))
        return error.square().sum(1).sqrt()
