"""Whole runs on torch's `meta` device, where no value exists: the nearest thing to a GPU on a machine without one.

A tensor that stayed on the host fails among the others there, and so does every read of a value, which on CUDA would
make the host wait. What `meta` lets through, and CUDA would wait for, `OneDevice` stops.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lilawbench.config import build
from lilawbench.datasets.base import Source
from lilawbench.engine import loop
from lilawbench.probes import attack
from lilawbench.probes.base import Predictions
from lilawbench.support import host
from lilawbench.support.seeding import derive_torch

META = torch.device("meta")


class OneDevice(TorchDispatchMode):
    """Refuses operations between host and device, and those that would make the host wait for a CUDA device.

    `meta` has no bincount, unique or nonzero and no item(); these it refuses by itself.
    """

    def __init__(self):
        super().__init__()
        self.sending = False  # in host.send, whose business it is

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        if self.sending or not any(t.is_meta for t in given + made):
            return out
        # a host's single number is passed to a kernel as such, unless it is to become a tensor of the device
        if any(not t.is_meta and (t.ndim or "copy" in func.name()) for t in given):
            raise AssertionError(f"{func} takes a tensor of the host to the device")
        if func is torch.ops.aten.lift_fresh.default:
            raise AssertionError("a list of numbers becomes a tensor on the device")
        if func is torch.ops.aten.index_put_.default and any(t.dtype == torch.bool for t in given[1:-1]):
            raise AssertionError("an assignment through a mask counts its rows")
        if "linalg" in func.name() and func.name().endswith("_ex"):
            raise AssertionError(f"{func} is checked by the host")
        return out


class Away:
    """Does runs with everything on `meta`. `reads` has what they asked for: (whether in a step, name of the place)."""

    def __init__(self, patch):
        self.reads, self.in_step, self.watch = [], False, OneDevice()
        self.answers = {
            "whether a forward can be repeated": torch.ones_like,
            "labels to measure against": torch.ones_like,
            "rows that train": torch.ones_like,
            "how many rows were seen": lambda value: torch.tensor(7),
            "labels to balance": lambda value: torch.arange(len(value)) % 10,
            "labels at setup": lambda value: torch.arange(len(value)) % 10,
            "losses to divide": lambda value: (torch.arange(value.numel()) % 2).reshape(value.shape).to(value.dtype),
            "rows whose label is predicted": lambda value: torch.arange(len(value)) % 2 == 0,
            "estimated matrix": lambda value: torch.eye(len(value), dtype=value.dtype),
        }
        patch(host, "bring", self.bring)
        patch(host, "send", self.send)
        patch("lilawbench.engine.runtime.choose_device", lambda name: META)
        patch("lilawbench.pipeline.fit", self.watched_epochs)
        patch(loop, "train_step", self.noted(loop.train_step))
        patch(Predictions, "_of", self.watched(Predictions._of))
        patch(attack, "predict_attacked", self.watched(attack.predict_attacked))
        patch(
            "lilawbench.methods.dynamic_loss.derive_torch",
            lambda *purpose, device="cpu": None if device == META else derive_torch(*purpose, device=device),
        )

    def bring(self, value, why):
        if not value.is_meta:
            return value.detach()
        self.reads.append((self.in_step, why))
        return self.answers.get(why, torch.zeros_like)(torch.empty(value.shape, dtype=value.dtype))

    def send(self, value, device):
        self.watch.sending = True
        try:
            return value.to(device)
        finally:
            self.watch.sending = False

    def noted(self, step):
        def stepping(*args):
            self.in_step = True
            try:
                return step(*args)
            finally:
                self.in_step = False

        return stepping

    def watched(self, work):
        def working(*args):
            with self.watch:
                return work(*args)

        return working

    def watched_epochs(self, *args, **options):
        epochs = loop.fit(*args, **options)
        following = self.watched(lambda: next(epochs, None))
        while (epoch := following()) is not None:
            yield epoch


@pytest.fixture
def one_device():
    return OneDevice


@pytest.fixture
def away(monkeypatch):
    return Away(monkeypatch.setattr)


CLASSES = np.arange(60) % 10
LABELS = CLASSES[:, None] >> np.arange(6) & 1
VALUES = np.linspace(0, 1, 60, dtype=np.float32)
TASKS = {  # a data set of each, whose files are made up here
    "multiclass": ("digits", torch.randint(256, (60, 3, 16, 16), dtype=torch.uint8), CLASSES),
    "multilabel": ("emotions", torch.randn(60, 5), LABELS),
    "regression": ("yacht", torch.randn(60, 5), VALUES),
}


@pytest.fixture
def small(monkeypatch, composed):
    """small("regression", ...): config of a run of two epochs over made-up data of a task."""

    def make(task, *overrides, input=None):
        name, made, target = TASKS[task]
        input = made if input is None else input
        cfg = composed(f"dataset={name}", "train.epochs=2", "train.batch_size=16", *overrides)
        dataset = build(cfg.dataset)
        scale = {"mean": (0.5,) * input.shape[1], "std": (0.2,) * input.shape[1]} if input.ndim == 4 else {}
        names, unit = tuple(map(str, range(dataset.num_classes))), 1.0 if task == "regression" else None
        source = Source(input, target, input[:20], target[:20], names, target_range=unit, clean_known=True, **scale)
        monkeypatch.setattr(type(dataset), "load", lambda self, data_dir: source)
        return cfg

    return make
