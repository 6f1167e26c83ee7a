"""The `loss` group: per-sample losses, logits [B, K] and observed labels [B] in, losses [B] out.

Methods average, weight or prune them; a loss never reduces by itself. Most are plain functions; one with a memory is a
StatefulLoss.
"""

from lilawbench.losses.base import StatefulLoss as StatefulLoss
from lilawbench.losses.correction import BackwardCorrection, ForwardCorrection
from lilawbench.losses.elr import ELR
from lilawbench.losses.robust import bootstrapping, gce, mae, mse, sce
from lilawbench.losses.standard import ce, focal, label_smoothing

__all__ = [
    "ELR",
    "BackwardCorrection",
    "ForwardCorrection",
    "bootstrapping",
    "ce",
    "focal",
    "gce",
    "label_smoothing",
    "mae",
    "mse",
    "sce",
]
