"""The `loss` group: per-sample losses, logits [B, K] and observed labels in, losses [B] out. tasks.py says which fit.

Methods average, weight or prune them; a loss never reduces by itself. Most are plain functions; one with a memory is a
StatefulLoss.
"""

from lilawbench.losses.balanced import BalancedSoftmax, LogitAdjustment
from lilawbench.losses.base import StatefulLoss as StatefulLoss
from lilawbench.losses.cores2 import CORES2
from lilawbench.losses.correction import BackwardCorrection, ForwardCorrection
from lilawbench.losses.elr import ELR
from lilawbench.losses.jensen_shannon import js
from lilawbench.losses.ldam import LDAM
from lilawbench.losses.robust import active_passive, bootstrapping, gce, mae, mse, sce
from lilawbench.losses.standard import bce, ce, focal, label_smoothing, squared

__all__ = [
    "CORES2",
    "ELR",
    "LDAM",
    "BackwardCorrection",
    "BalancedSoftmax",
    "ForwardCorrection",
    "LogitAdjustment",
    "active_passive",
    "bce",
    "bootstrapping",
    "ce",
    "focal",
    "gce",
    "js",
    "label_smoothing",
    "mae",
    "mse",
    "sce",
    "squared",
]
