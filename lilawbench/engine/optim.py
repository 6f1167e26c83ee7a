"""Optimiser and learning-rate schedule. The schedule is a function of the step alone: resuming needs no state of it."""

import math
from collections.abc import Callable, Iterable

import torch
from omegaconf import DictConfig
from torch import nn


def build_optimizer(
    parameters: Iterable[nn.Parameter], train: DictConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with the options of `train`, in torch's fused form where the device has one."""
    parameters = [p for p in parameters if p.requires_grad]
    common = {"lr": train.lr, "weight_decay": train.weight_decay, "fused": device.type in ("cpu", "cuda")}
    if train.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=train.momentum, nesterov=train.nesterov, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer](parameters, **common)


def build_schedule(train: DictConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Learning rate at a step (from 0).

    constant; linear and cosine fall from lr at step 0 to 0 after the last step; multistep is lr x 0.1 from each
    milestone epoch on.
    """
    total = train.epochs * steps_per_epoch

    def lr_at(step: int) -> float:
        done = step / total
        if train.schedule == "linear":
            return train.lr * (1 - done)
        if train.schedule == "cosine":
            return train.lr * 0.5 * (1 + math.cos(math.pi * done))
        if train.schedule == "multistep":
            return train.lr * 0.1 ** sum(step >= m * steps_per_epoch for m in train.milestones_epochs)
        return train.lr

    return lr_at
