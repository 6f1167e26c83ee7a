"""Targets that are probabilities: what methods of two networks or two views train on in place of labels."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_ce(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against probabilities, -sum_k q_k log s_k.

    Args:
        logits: [B, K] float. target: q, [B, K], rows sum to 1.
    Returns:
        Losses, [B].
    """
    return -(target * logits.log_softmax(dim=1)).sum(dim=1)


def one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """Labels [B] int64 as probabilities, of the shape and type of logits [B, K]."""
    return torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)


def sharpened(probs: Tensor, temperature: float = 0.5) -> Tensor:
    """p_k^(1/T) / sum_j p_j^(1/T), [B, K].

    Args:
        probs: [B, K], rows sum to 1. temperature: T > 0; below 1 makes the largest larger.
    Source: Berthelot et al. 2019 (MixMatch), eq. 7.
    """
    return (probs.clamp(min=torch.finfo(probs.dtype).tiny).log() / temperature).softmax(dim=1)


def negative_entropy(logits: Tensor) -> Tensor:
    """sum_k s_k log s_k of each row, [B], in [-log K, 0]: added to a loss it keeps predictions from certainty.

    Source: Pereyra et al. 2017; Li et al. 2020 (DivideMix), eq. 12.
    """
    log_s = logits.log_softmax(dim=1)
    return (log_s.exp() * log_s).sum(dim=1)


def towards_uniform(logits: Tensor) -> Tensor:
    """KL(uniform || mean prediction), [] >= 0: 0 where a batch's mean prediction is the same for all classes.

    Args:
        logits: [B, K].
    Source: Tanaka et al. 2018, eq. 5; Li et al. 2020 (DivideMix), eq. 11.
    """
    log_mean = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
    uniform = torch.full_like(log_mean, 1 / logits.shape[1])
    return F.kl_div(log_mean, uniform, reduction="sum")


def ramp(position: float, length: float) -> float:
    """min(max(position / length, 0), 1); 1 where length is 0."""
    return 1.0 if length <= 0 else min(max(position / length, 0.0), 1.0)
