"""Losses that bound, or share out, what a wrong label can do. s = softmax(logits), y = the observed label."""

import math

from torch import Tensor
from torch.nn import functional as F

from lilawbench.losses.standard import ce

BOOTSTRAP_BETA = {"soft": 0.95, "hard": 0.8}


def mae(logits: Tensor, target: Tensor, scale: str = "sum") -> Tensor:
    """Mean absolute error of the probabilities, |s_k - 1[k = y]| over k: 2 (1 - s_y) in sum.

    Symmetric: summed over the K labels it is a constant, so that uniform noise below 1 - 1/K does not move its
    minimiser. Its gradient vanishes where s_y is small: slow on hard data.

    Args:
        logits: [B, K] float. target: [B] int64.
        scale: "sum" over the K classes, as Ghosh et al. write it, in [0, 2]; "mean", as Keras has it, in [0, 2/K].
    Returns:
        Losses, [B].
    Raises:
        ValueError: another scale.
    Source: Ghosh et al. 2017.
    """
    return _factor(scale, logits) * 2 * _others(logits, target).sum(dim=1)


def mse(logits: Tensor, target: Tensor, scale: str = "sum") -> Tensor:
    """Squared error of the probabilities (Brier score), (s_k - 1[k = y])^2 over k.

    Args:
        logits: [B, K] float. target: [B] int64.
        scale: "sum" over the K classes, the Brier score, in [0, 2]; "mean", as Keras has it, in [0, 2/K].
    Returns:
        Losses, [B].
    Raises:
        ValueError: another scale.
    Source: Brier 1950; Ghosh et al. 2017, section 3.
    """
    others = _others(logits, target)
    return _factor(scale, logits) * (others.sum(dim=1).square() + others.square().sum(dim=1))


def gce(logits: Tensor, target: Tensor, q: float = 0.7) -> Tensor:
    """Generalised cross-entropy, (1 - s_y^q) / q: cross-entropy for q -> 0, 1 - s_y (MAE) for q = 1.

    Args:
        logits: [B, K] float. target: [B] int64.
        q: in (0, 1]; larger = more robust, slower to fit.
    Returns:
        Losses, [B] in [0, 1/q].
    Raises:
        ValueError: q outside (0, 1].
    Source: Zhang & Sabuncu 2018, eq. 6, without its truncation.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q is {q}; it must lie in (0, 1]")
    return (-q * ce(logits, target)).expm1() / -q


def sce(logits: Tensor, target: Tensor, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0) -> Tensor:
    """Symmetric cross-entropy, alpha (-log s_y) + beta RCE with the reverse term RCE = -log_zero (1 - s_y).

    RCE is -sum_k s_k log 1[k = y] with log 0 = log_zero: MAE's robustness beside cross-entropy's speed.

    Args:
        logits: [B, K] float. target: [B] int64.
        alpha, beta: weights >= 0. The paper: .1 and 1 on CIFAR-10, .01 and 1 on MNIST, 6 and .1 on CIFAR-100.
        log_zero: the paper's A, < 0.
    Returns:
        Losses, [B] >= 0.
    Raises:
        ValueError: a negative weight, log_zero >= 0.
    Source: Wang et al. 2019, section 3. Much code takes log(1e-4) = -9.21 for A.
    """
    _check_weights(alpha, beta, log_zero)
    return alpha * ce(logits, target) - (beta * log_zero) * _others(logits, target).sum(dim=1)


def active_passive(
    logits: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    beta: float = 1.0,
    passive: str = "rce",
    log_zero: float = -4.0,
) -> Tensor:
    """Active passive loss, alpha NCE + beta RCE or MAE, with NCE = log s_y / sum_k log s_k in [0, 1].

    NCE, normalised cross-entropy, is active: it lifts the label. RCE = -log_zero (1 - s_y) and MAE = 2 (1 - s_y) are
    passive: they push the others down. All are symmetric: summed over the K labels, each is a constant.

    Args:
        logits: [B, K] float. target: [B] int64.
        alpha, beta: weights >= 0. The paper: 1 and 1 on CIFAR-10, 10 and .1 on CIFAR-100.
        passive: "rce" (NCE+RCE) | "mae" (NCE+MAE; the authors' code writes 1 - s_y, a beta half as large).
        log_zero: of rce, log 0, < 0; the authors' code takes log(1e-4) = -9.21.
    Returns:
        Losses, [B] >= 0.
    Raises:
        ValueError: a negative weight, another passive loss, log_zero >= 0.
    Source: Ma et al. 2020, eq. 4 and 6, section 3.3.
    """
    if passive not in ("rce", "mae"):
        raise ValueError(f"passive is {passive!r}; it must be rce or mae")
    _check_weights(alpha, beta, log_zero)
    log_s = logits.log_softmax(dim=1)
    nce = log_s.gather(1, target[:, None])[:, 0] / log_s.sum(dim=1)
    return alpha * nce + beta * (-log_zero if passive == "rce" else 2.0) * _others(logits, target).sum(dim=1)


def bootstrapping(
    logits: Tensor, target: Tensor, kind: str = "soft", beta: float | None = None, detach: bool = False
) -> Tensor:
    """Cross-entropy against the label mixed with the model's belief b, -sum_k (beta 1[k = y] + (1 - beta) b_k) log s_k.

    soft: b = s, which adds a reward for low entropy. hard: b = one-hot of the largest s.

    Args:
        logits: [B, K] float. target: [B] int64.
        kind: "soft" or "hard".
        beta: weight of the observed label, in [0, 1]; None: the paper's .95 (soft) or .8 (hard).
        detach: soft: whether b is a constant. False lets the gradient flow through it, as the formula is printed.
    Returns:
        Losses, [B] >= 0.
    Raises:
        ValueError: another kind, beta outside [0, 1].
    Source: Reed et al. 2014, section 3.
    """
    if kind not in BOOTSTRAP_BETA:
        raise ValueError(f"kind is {kind!r}; it must be soft or hard")
    beta = BOOTSTRAP_BETA[kind] if beta is None else beta
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is {beta}; it must lie in [0, 1]")
    log_s = logits.log_softmax(dim=1)
    if kind == "hard":
        belief = log_s.max(dim=1).values
    else:
        s = log_s.exp()
        belief = ((s.detach() if detach else s) * log_s).sum(dim=1)
    return beta * F.nll_loss(log_s, target, reduction="none") - (1 - beta) * belief


def _others(logits: Tensor, target: Tensor) -> Tensor:
    """Probabilities [B, K] with the observed class's set to 0: their sum is 1 - s_y without cancellation."""
    return logits.softmax(dim=1).scatter(1, target[:, None], 0.0)


def _factor(scale: str, logits: Tensor) -> float:
    if scale not in ("mean", "sum"):
        raise ValueError(f"scale is {scale!r}; it must be mean or sum")
    return 1 / logits.shape[1] if scale == "mean" else 1.0


def _check_weights(alpha: float, beta: float, log_zero: float) -> None:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}; it must be >= 0 and finite")
    if not -math.inf < log_zero < 0:
        raise ValueError(f"log_zero is {log_zero}; it must be < 0 and finite")
