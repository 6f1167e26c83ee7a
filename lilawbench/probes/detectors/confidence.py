"""What cleanlab ranks by, beside the normalised margin: probabilities of the last epoch that a row trained in."""

import math

import torch
from torch import Tensor

from lilawbench.probes.detectors.base import Latest, Look


class SelfConfidence(Latest):
    """-p_y, the probability of the given label, in [-1, 0]; over all epochs it is `data_iq`.

    High: rows whose label the network does not believe, whether it knows a better one or not.

    Source: cleanlab, `rank.get_self_confidence_for_each_label`. Deviations: the sign; see NormalisedMargin.
    """

    def value(self, look: Look) -> Tensor:
        return -look.prob_given


class ConfidenceWeightedEntropy(Latest):
    """-log(1 + x) / x, x = H(p) / (p_y log K), H the entropy; in [-1, 0).

    High: rows whose label the network does not believe, and the more so, the less sure it is of any other.

    Source: cleanlab, `rank.get_confidence_weighted_entropy_for_each_label`. Deviations: the sign; see NormalisedMargin.
    Cleanlab cuts p_y and the divisor x at 1e-6, and gives rows of a lower x the worst of all scores, above all those
    that are right beyond doubt; here x is exact, in float64, and they get the best.
    """

    def value(self, look: Look) -> Tensor:
        z = look.logits.double()
        top = z.max(1, keepdim=True)
        below = z - top.values
        rest = below.exp().scatter(1, top.indices, 0).sum(1, keepdim=True)
        surprise = torch.log1p(rest) - below  # -log p; without log1p that of a sure row would round to 0
        given = below.gather(1, look.observed[:, None])
        x = ((below - given.clamp(min=-700)).exp() * surprise).sum(1) / math.log(z.shape[1])  # exp(709) is the end
        return -(torch.log1p(x) / x).where(x > 0, 1)
