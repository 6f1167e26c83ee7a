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
    that are right beyond doubt; here x is exact, and they get the best.
    """

    def value(self, look: Look) -> Tensor:
        z = look.logits.T.contiguous()  # several times as fast over [K, N]
        top = z.max(0)
        least = -80 if z.dtype == torch.float32 else -700  # exp overflows soon after
        below = (z - top.values).clamp_(min=least)
        rest = below.exp().scatter_(0, top.indices[None], 0).sum(0)
        surprise = torch.log1p(rest) - below  # -log p; without log1p that of a sure row would round to 0
        ratio = (below - below.gather(0, look.observed[None])).exp_()  # p / p_y
        x = (ratio * surprise).sum(0) / math.log(len(z))
        return -(torch.log1p(x) / x).where(x > 0, 1)
