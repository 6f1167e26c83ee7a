"""The formulas of LiLAW (Eq. 2-6, A.6, A.7): a sample's weight, and its derivative in the parameters."""

import torch
from torch import Tensor


def agreement(logits: Tensor, target: Tensor, target_range: float | None = None) -> tuple[Tensor, Tensor]:
    """The model's scores of the observed label and of the likeliest one: (s_y, s_max), each [B, 1].

    Args:
        logits: [B, K]; regression: f, [B, 1].
        target: classes, [B] int64; labels, [B, K] int64 of 0 and 1 (without one, both means are 0); values, [B] float.
        target_range: R > 0, for values.
    Raises:
        ValueError: values without a range.
    Source: LiLAW, Eq. 2-4; A.6, Eq. 32-34; A.7, Eq. 35-37.
    """
    if target.is_floating_point():
        if target_range is None:
            raise ValueError("regression weights need the range of the targets: give target_range")
        return logits / target_range, target.to(logits.dtype)[:, None] / target_range
    if target.ndim == 1:
        probs = logits.softmax(dim=1)
        return probs.gather(1, target[:, None]), probs.max(dim=1, keepdim=True).values
    probs, count = logits.sigmoid(), target.sum(dim=1, keepdim=True)
    top = probs.sort(dim=1, descending=True).values * (torch.arange(probs.shape[1], device=probs.device) < count)
    least = count.clamp(min=1)
    return (probs * target).sum(dim=1, keepdim=True) / least, top.sum(dim=1, keepdim=True) / least


def weight_terms(s_y: Tensor, s_max: Tensor, params: Tensor, gaussian: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """W_alpha, W_beta, W_delta of Eq. 2-4, each [B], for s_y, s_max [B, 1] and params (alpha, beta, delta), [3].

    With `gaussian` False, W_delta = sigmoid(-(delta s_y - s_max)), Eq. 37.
    """
    easy, hard, moderate = (params * s_y - s_max).unbind(1)
    middle = torch.exp(moderate.square() * -0.5) if gaussian else torch.sigmoid(-moderate)
    return torch.sigmoid(easy), torch.sigmoid(-hard), middle


def meta_gradient(loss: Tensor, s_y: Tensor, s_max: Tensor, params: Tensor, gaussian: bool = True) -> Tensor:
    """Gradient of mean(W l) with respect to (alpha, beta, delta), in closed form.

    Where s_y >= 0, dL/dalpha >= 0 and dL/dbeta <= 0: but for weight decay, alpha only falls and beta only rises.

    Args:
        loss: per-sample losses, [B]. s_y, s_max: from `agreement`, [B, 1]. params: (alpha, beta, delta), [3].
        gaussian: W_delta, see `weight_terms`.
    Returns:
        [3].
    Source: derivative of Eq. 2-6 with the network frozen (Algorithm 1, lines 12-15).
    """
    t = params * s_y - s_max
    gate, moderate = torch.sigmoid(t), t[:, 2]
    slopes = torch.addcmul(gate, gate, gate, value=-1)  # of the sigmoid, for t and for -t alike
    if gaussian:
        torch.mul(torch.exp(moderate.square() * -0.5), moderate, out=slopes[:, 2])
    gradient = torch.mv(slopes.T, loss * s_y.squeeze(1)) / len(loss)
    gradient[1:].neg_()
    return gradient
