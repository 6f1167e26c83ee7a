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
        below = look.logits.T.clone(memory_format=torch.contiguous_format)  # several times as fast over [K, N]
        least = -80 if below.dtype == torch.float32 else -700  # exp underflows soon after
        below.sub_(below.amax(0)).clamp_(min=least)
        e, top = below.exp(), below == 0  # p_j / max p, and whether it is 1
        given, weighed = e.gather(0, look.observed[None])[0], below.mul_(e).sum(0)
        rest = e.masked_fill_(top, 0).sum(0) + (top.sum(0, dtype=torch.int32) - 1)  # of e, all but one of the largest
        # -log p = log(1 + rest) - below; without log1p that of a sure row would round to 0
        x = (torch.log1p(rest) * (1 + rest) - weighed) / (given * math.log(len(e)))
        return -(torch.log1p(x) / x).where(x > 0, 1)
