"""Whole runs on torch's `meta` device, where no value exists: the nearest thing to a GPU on a machine without one.

A tensor that stayed on the host fails among the others there, and so does every read of a value, which on CUDA would
make the host wait. What `meta` lets through, and CUDA would wait for, `OneDevice` stops. So these runs prove that all of
training and evaluation is on one device, and that it waits at the places of READS only.
"""

import ast
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lilawbench
from lilawbench import host
from lilawbench.config import CONF, bind, build
from lilawbench.data.base import Dataset, Source
from lilawbench.engine import loop
from lilawbench.methods.supervised import Supervised
from lilawbench.results.recorder import Recorder
from lilawbench.tasks import tasks_of
from lilawbench.train import run

META = torch.device("meta")
NAMES = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in ("method", "loss", "model")}

# Every place that waits for the device, as `host.bring` and `host.read` name it, and why it must.
READS = {
    # in a step
    "finite losses": "a loss that is not finite ends the run; asked every 50 steps and after the last",
    "whether a forward can be repeated": "Dynamic Loss: a look-ahead is wrong on a network with a hidden state of its "
    "own; asked at the first step of an epoch",
    # once an epoch
    "rows that train": "Dynamic Loss: how many steps the epoch has; the host shuffles the rows that are left",
    "losses of an epoch": "they are written; and the seconds of an epoch end when its work is done",
    "trace of an epoch": "LiLAW: alpha, beta, delta after each step are written",
    "losses to re-weight": "RRM: losses that are not finite end the run",
    "re-weightings": "RRM: written",
    "mean of g": "Dynamic Loss: written",
    "epoch to measure": "the logits of training and what a method made of each sample: metrics are the host's work",
    "logits to measure": "of validation and test rows",
    "attacked logits to measure": "of test rows",
    "labels to measure against": "of all three",
    # once a run
    "labels to balance": "train.balanced_samples: the host draws as many rows of each class",
    "labels at setup": "Dynamic Loss: the size of the meta set follows from that of the smallest class",
    "estimated matrix": "loss corrections: it is inverted, and checked, on the host",
    # never with rows of one device
    "rows of images in files": "Dynamic Loss on images in files: the rows of its meta batch, which the host opens",
    "rows of a loss that is not finite": "the run ends",
}

# What `meta` lacks, and what stands in its place here.
LACKS = {
    "a generator": (lambda: torch.Generator(META), "Dynamic Loss's pseudo-labels are drawn from the global one"),
    "a generator's exponential_": (
        lambda: torch.empty(1, device=META).exponential_(generator=torch.Generator()),
        "so that the host's does not do either",
    ),
    "autocast": (lambda: torch.autocast("meta", torch.bfloat16), "all runs are in fp32"),
    "fused optimizers": (
        lambda: torch.optim.Adam([torch.zeros(1, device=META, requires_grad=True)], fused=True),
        "torch's plain ones, whose count of steps is the host's",
    ),
}


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
            "rows that train": torch.ones_like,
            "labels to balance": lambda value: torch.arange(len(value)) % 10,
            "labels at setup": lambda value: torch.arange(len(value)) % 10,
            "estimated matrix": lambda value: torch.eye(len(value), dtype=value.dtype),
        }
        patch(host, "bring", self.bring)
        patch(host, "send", self.send)
        patch("lilawbench.engine.runtime.choose_device", lambda name: META)
        patch("lilawbench.train.fit", self.watched_epochs)
        patch(loop, "train_step", self.noted(loop.train_step))
        patch(Recorder, "_evaluate", self.watched(Recorder._evaluate))
        derive = lilawbench.seeding.derive_torch
        patch(
            "lilawbench.methods.dynamic_loss.derive_torch",
            lambda *purpose, device="cpu": None if device == META else derive(*purpose, device=device),
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
def away(monkeypatch):
    return Away(monkeypatch.setattr)


@pytest.mark.parametrize("name", NAMES["method"])
def test_every_method(away, tiny, acting, name):
    run(tiny(*acting(name), "attack.eps=[0,0.1]"))
    print(Counter(away.reads))
