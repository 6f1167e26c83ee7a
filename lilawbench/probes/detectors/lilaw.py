"""LiLAW's weights as scores. Their order comes from two numbers of a row: s_y, the probability of the given label, and
s_max, the largest; where alpha is large, W_alpha's is nearly that of self-confidence and of the loss."""

import torch
from torch import Tensor

from lilawbench.methods.parts.lilaw_weights import weight_terms
from lilawbench.probes.detectors.base import Latest, Look

NAMES = ("alpha", "beta", "delta")
START = (10.0, 2.0, 6.0)  # LiLAW, A.9


def parameters(look: Look) -> Tensor:
    """alpha, beta, delta after the epoch, [3]: the method's own where it has all three, else where LiLAW starts."""
    learned = [look.trace[name] for name in NAMES if name in look.trace]
    return look.logits.new_tensor(learned if len(learned) == 3 else START)


def weights(look: Look) -> tuple[Tensor, Tensor, Tensor]:
    """W_alpha, W_beta, W_delta, each [N], of the logits as trained and of the parameters after the epoch."""
    return weight_terms(look.prob_given[:, None], look.prob_most[:, None], parameters(look))


class WAlpha(Latest):
    """1 - W_alpha = sigmoid(s_max - alpha s_y), in the last epoch that a row trained in. Sign used: W_alpha low.

    High: rows that are not easy.

    Source: LiLAW, Eq. 2. Deviations, here and below: each batch of theirs has the parameters of its step, and during
    the warm-up the weights do not enter yet; here an epoch's rows have those after its last step.
    """

    def value(self, look: Look) -> Tensor:
        return torch.sigmoid(look.prob_most - parameters(look)[0] * look.prob_given)  # 1 - W_alpha would round to 0


class WBeta(Latest):
    """W_beta = sigmoid(s_max - beta s_y). Sign used: W_beta high.

    High: rows that are hard, for which the network is sure of another label.

    Source: LiLAW, Eq. 3; see WAlpha.
    """

    paper_sign = 1

    def value(self, look: Look) -> Tensor:
        return weights(look)[1]


class WDelta(Latest):
    """W_delta = exp(-(delta s_y - s_max)^2 / 2). Sign used: W_delta high, in every epoch.

    High: rows whose given label has 1 / delta of the largest probability. Those where it has nothing lie between
    exp(-1/2) and 1, easy rows near 0. So it is not monotone in s_y, and which sign is better can change while a network
    learns; without clean labels nobody can tell. High is right once most rows are easy.

    Source: LiLAW, Eq. 4; see WAlpha.
    """

    paper_sign = 1

    def value(self, look: Look) -> Tensor:
        return weights(look)[2]


class W(Latest):
    """W_alpha + W_beta + W_delta. Sign used: W high, in every epoch.

    High: rows of which the network is unsure (2.07 where ten classes are equally likely), then those for which it is
    sure of another label (1.61), then sure and right ones (1.27), all with LiLAW's first parameters. Early in
    training most rows are of the first kind.

    Source: LiLAW, Eq. 5; see WAlpha.
    """

    paper_sign = 1

    def value(self, look: Look) -> Tensor:
        return torch.stack(weights(look)).sum(0)
