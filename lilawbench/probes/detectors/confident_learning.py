"""Confident learning: labels that the confident joint counts as wrong."""

from torch import Tensor

from lilawbench.metrics.confident import probably_wrong
from lilawbench.probes.detectors.base import Look
from lilawbench.probes.detectors.out_of_sample import OfFolds


class ConfidentLearning(OfFolds):
    """i - p_y, where i is 1 for the rows that confident learning prunes by noise rate and 0 for the others, and p_y is
    the fold's probability of the given label: above 0 the former, least believed first, below 0 the latter.

    High: rows that are counted as wrong; their order is that of cleanlab's
    `find_label_issues(filter_by="prune_by_noise_rate", return_indices_ranked_by="self_confidence")`.

    Source: Northcutt et al. 2021; see `metrics/confident.py`.
    """

    def value(self, look: Look, probs: Tensor) -> Tensor:
        return probably_wrong(probs, look.observed).double() - look.of_given(probs)
