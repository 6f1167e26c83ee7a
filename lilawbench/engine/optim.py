"""Optimiser and learning-rate schedule. The schedule depends on the number of epochs alone: resuming needs no state."""

import math
from collections.abc import Callable, Iterable

import torch
from omegaconf import DictConfig
from torch import nn

from lilawbench.schema import Train
from lilawbench.support.lean import lean
from lilawbench.support.plain import State


def build_optimizer(
    parameters: Iterable[nn.Parameter], train: Train | DictConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with the options of `train`, in torch's fused form where the device has it."""
    parameters = [p for p in parameters if p.requires_grad]
    common = {"lr": train.lr, "weight_decay": train.weight_decay, "fused": device.type in ("cpu", "cuda")}
    if train.optimizer == "sgd":
        return lean(torch.optim.SGD, parameters, momentum=train.momentum, nesterov=train.nesterov, **common)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
    return lean(kind, parameters, **common)


def build_schedule(train: Train | DictConfig) -> Callable[[float], float]:
    """Learning rate after a number of finished epochs, such as 2.5; epochs may differ in their number of steps.

    constant; linear and cosine fall from lr to 0, linear after `decay_from_epoch`; multistep multiplies by 0.1 at each
    milestone epoch.
    """

    lr, total, held, milestones = train.lr, train.epochs, train.decay_from_epoch, list(train.milestones_epochs)
    kind = train.schedule  # all read once: a config's options take longer to look up than to use, at every step

    def lr_at(epochs: float) -> float:
        done = epochs / total
        if kind == "linear":
            return lr * min(1.0, (total - epochs) / (total - held)) if held else lr * (1 - done)
        if kind == "cosine":
            return lr * 0.5 * (1 + math.cos(math.pi * done))
        if kind == "multistep":
            return lr * 0.1 ** sum(epochs >= m for m in milestones)
        return lr

    return lr_at


def load_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Loads the state_dict of an optimiser whose weights may have had another memory layout.

    Fused steps assume that moments have the layout of their weights, and are silently wrong where they have not.
    """
    optimizer.load_state_dict(state)
    for p, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, torch.Tensor) and value.shape == p.shape:
                kept[name] = torch.empty_like(p, dtype=value.dtype, device=value.device).copy_(value)
