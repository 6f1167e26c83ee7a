"""Whole runs on torch's `meta` device, where no value exists: the nearest thing to a GPU on a machine without one.

A tensor that stayed on the host fails among the others there, and so does every read of a value, which on CUDA would
make the host wait. What `meta` lets through, and CUDA would wait for, `OneDevice` stops. So these runs prove that all
of training and evaluation is on one device, and that it waits at the places of READS only.
"""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lilawbench
from lilawbench import host
from lilawbench.config import CONF, build
from lilawbench.data.base import Source
from lilawbench.data.image_files import ImageFiles
from lilawbench.data.loaders import MetaLoader, TrainLoader
from lilawbench.data.stream import Streamed
from lilawbench.data.transforms import Augment
from lilawbench.engine import loop
from lilawbench.errors import ConfigError
from lilawbench.methods.supervised import Supervised
from lilawbench.pipeline import initialise_model
from lilawbench.results.recorder import Recorder
from lilawbench.seeding import derive_torch
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
    "lowest weight of an epoch": "a method that gave a sample a negative weight ends the run",
    "how many rows were seen": "RRM of training losses: they are re-weighted among themselves",
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
        lambda: torch._fused_sgd_(
            *([torch.zeros(1, device=META)],) * 3,
            weight_decay=0,
            momentum=0,
            lr=1,
            dampening=0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        ),
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
            "labels to measure against": torch.ones_like,
            "rows that train": torch.ones_like,
            "how many rows were seen": lambda value: torch.tensor(7),
            "labels to balance": lambda value: torch.arange(len(value)) % 10,
            "labels at setup": lambda value: torch.arange(len(value)) % 10,
            "estimated matrix": lambda value: torch.eye(len(value), dtype=value.dtype),
        }
        patch(host, "bring", self.bring)
        patch(host, "send", self.send)
        patch("lilawbench.engine.runtime.choose_device", lambda name: META)
        patch("lilawbench.pipeline.fit", self.watched_epochs)
        patch(loop, "train_step", self.noted(loop.train_step))
        patch(Recorder, "_evaluate", self.watched(Recorder._evaluate))
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
def away(monkeypatch):
    return Away(monkeypatch.setattr)


def images(*shape):
    return torch.randint(256, (len(CLASSES), *shape), dtype=torch.uint8)


CLASSES = np.arange(60) % 10
LABELS = CLASSES[:, None] >> np.arange(6) & 1
VALUES = np.linspace(0, 1, 60, dtype=np.float32)
TASKS = {  # a data set of each, whose files are made up here
    "multiclass": ("digits", images(3, 16, 16), CLASSES),
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
        source = Source(input, target, input[:20], target[:20], names, target_range=unit, **scale)
        monkeypatch.setattr(type(dataset), "load", lambda self, data_dir: source)
        return cfg

    return make


WRITTEN = {"epoch to measure", "logits to measure", "labels to measure against", "attacked logits to measure"}
LOOK_AHEAD = {"labels at setup": 1, "rows that train": 1, "whether a forward can be repeated": 1, "mean of g": 1}
OWN = {  # in two epochs of four steps
    "lilaw": {"trace of an epoch": 2, "lowest weight of an epoch": 1},
    "rrm": {"losses to re-weight": 2, "re-weightings": 2, "lowest weight of an epoch": 2},
    "a_rrm": {"losses to re-weight": 2, "re-weightings": 2, "lowest weight of an epoch": 2},
    "dynamic_loss": LOOK_AHEAD,
    "dynamic_loss_lt": LOOK_AHEAD,
}


@pytest.mark.parametrize("name", NAMES["method"])
def test_every_method_is_on_one_device_and_waits_where_it_says(away, tiny, acting, name):
    assert run(tiny(*acting(name), "attack.eps=[0,0.1]", "train.epochs=2")).result["steps"] >= 7
    waits = Counter(why for _, why in away.reads if why not in WRITTEN)
    assert waits == {"finite losses": 2, "losses of an epoch": 2, **OWN.get(name, {})}
    assert {why for _, why in away.reads} & WRITTEN == WRITTEN
    assert {why for in_step, why in away.reads if in_step} <= {"whether a forward can be repeated"}


def test_losses_are_looked_at_now_and_then(away, tiny, monkeypatch):
    assert loop.CHECK_STEPS == 50
    monkeypatch.setattr(loop, "CHECK_STEPS", 3)
    run(tiny("train.epochs=1"))
    assert Counter(away.reads)[False, "finite losses"] == 2  # of three steps, and of the fourth


OPTIONS = {
    "views": [
        "model=cnn", "train.augment.crop_px=1", "train.augment.flip=true", "train.augment.rotate_degrees=9",
        "train.augment.jitter=.2", "train.augment.policy=cifar10", "split.val_augment=true", "train.resize_px=20",
    ],
    "balanced": ["method=lilaw", "method.warmup_epochs=0", "method.meta_mode=train", "train.balanced_samples=30"],
    "sgd": ["method=dynamic_loss", "train.optimizer=sgd", "train.momentum=.9", "train.nesterov=true"],
    "adamw": ["method=dynamic_loss", "train.optimizer=adamw", "train.weight_decay=.1", "train.clip_grad_norm=1"],
    "double_backward": ["method=dynamic_loss", "method.hypergradient=double_backward", "method.meta_mode=eval"],
    "finite_difference": ["method=dynamic_loss", "method.hypergradient=finite_difference", "method.meta_net=vector"],
    "meta set": ["method=dynamic_loss", "method.finetune_on_meta=true", "method.meta_sampling=lowest_loss"],
    "softmax": ["method=dynamic_loss", "method.pseudo_label=softmax", "method.class_wise=false"],
    "contamination": ["method=rrm", "method.contamination=.2", "train.accumulate_steps=2"],
    "seen losses": ["method=a_rrm", "method.reweight_losses=training", "method.fgsm.mode=train"],
    "scales": ["method=lilaw", "method.scales=true", "method.terms=[alpha,beta]", "model.dropout=.1"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_on_one_device(away, small, acting, name):
    method, *options = OPTIONS[name] if name != "views" else ["method=ce", *OPTIONS[name]]
    run(small("multiclass", *acting(method.removeprefix("method=")), *options))
    assert {why for in_step, why in away.reads if in_step} <= {"whether a forward can be repeated"}


@pytest.mark.parametrize("name", NAMES["loss"])
def test_every_loss_is_on_one_device(away, small, name):
    loss = OmegaConf.load(CONF / "loss" / f"{name}.yaml")
    task = next(task for task in TASKS if task in tasks_of(get_object(loss._target_)))
    estimated = ["loss.warmup_epochs=1"] if "warmup_epochs" in loss else ["train.epochs=1"]
    run(small(task, f"loss={name}", *estimated, "train.batch_size=30", "model.hidden=[8]"))
    waits = {why for _, why in away.reads if why not in WRITTEN}
    assert waits - {"estimated matrix"} == {"finite losses", "losses of an epoch"}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "regression"])
@pytest.mark.parametrize("name", NAMES["method"])
def test_every_method_is_on_one_device_for_every_task(away, small, acting, name, task):
    cfg = small(task, *acting(name), "attack.eps=[0.1]")
    if not all(task in tasks_of(get_object(part._target_)) for part in (cfg.method, cfg.loss)):
        with pytest.raises(ConfigError, match=task):
            run(cfg)
    else:
        assert run(cfg).result["task"] == task and not any(in_step for in_step, _ in away.reads)


INPUTS = {"lstm": (12, 3), "mlp": (7,), "rrm_mlp": (7,), "inception_resnet_v2": (3, 96, 96), "vgg19_bn": (3, 64, 64)}
QUICK = ("cnn",)


@pytest.mark.parametrize("method", ["lilaw", pytest.param("dynamic_loss", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in NAMES["model"]]
)
def test_every_model_is_on_one_device(away, small, acting, monkeypatch, name, method):
    """With its look-ahead in forward mode, or the two backward passes that stand in where there is none."""

    def made_there(*described):
        with META:
            return initialise_model(*described)

    monkeypatch.setattr("lilawbench.pipeline.initialise_model", made_there)  # random weights take their time
    shape = INPUTS.get(name, (3, 32, 32))
    input = images(*shape) if len(shape) == 3 else torch.randn(len(CLASSES), *shape)
    short = ["method.warmup_epochs=0", "train.epochs=1", "train.batch_size=30", "attack.eps=[0.1]"]
    run(small("multiclass", *acting(method), f"model={name}", *short, input=input))
    assert {why for in_step, why in away.reads if in_step} <= {"whether a forward can be repeated"}


def test_images_in_files_are_on_one_device_and_wait_for_nobody(away, tmp_path):
    """Their rows are chosen on the host, where they are opened."""
    for row in range(9):
        Image.fromarray(np.zeros((6, 6, 3), dtype=np.uint8)).save(tmp_path / f"{row}.png")
    files = ImageFiles(tmp_path, np.array([f"{row}.png" for row in range(9)], dtype=np.bytes_), size=4, resize=6)
    data = Streamed(files, torch.from_numpy(CLASSES[:9]), (0.5,) * 3, (0.2,) * 3, META)
    with away.watch:
        meta = MetaLoader(data, 0)
        for batch in [
            *TrainLoader(data, 4, 0, Augment(crop_px=1, flip=True)).epoch(1),
            *data.in_order(4),
            meta(4),
            meta(4),
        ]:
            assert all(part.is_meta for part in batch)
    assert not away.reads
    data.batch(batch.index)
    assert [why for _, why in away.reads] == ["rows of images in files"]


X, Y = torch.randn(4, 3, device=META), torch.arange(4, device=META)
CONTROLS = {  # what would make the host wait, or fail, on CUDA
    "a tensor of the host": lambda: X * torch.ones(4, 3),
    "an index of the host": lambda: X[torch.arange(2)],
    "rows of the host": lambda: X.index_select(0, torch.arange(2)),
    "a copy into the device": lambda: X.copy_(torch.ones(4, 3)),
    "a copy to the device": lambda: torch.ones(()).to(META),
    "a copy to the host": lambda: X.cpu(),
    "a list of numbers": lambda: torch.tensor([1.0, 2.0], device=META),
    "an index by a list": lambda: X[[0, 1]],
    "a value": lambda: X.sum().item(),
    "a condition": lambda: 1 if X.sum() > 0 else 0,
    "rows of a mask": lambda: X[X > 0],
    "places of a mask": lambda: (X > 0).nonzero(),
    "values into a mask": lambda: X.__setitem__(Y > 0, torch.ones(1, 3, device=META)),
    "different values": lambda: Y.unique(),
    "a count": lambda: Y.bincount(minlength=4),
    "an inverse": lambda: torch.linalg.inv(X[:3]),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_what_would_wait_is_found(name):
    with OneDevice(), pytest.raises((AssertionError, RuntimeError)):
        CONTROLS[name]()


def test_what_would_not_wait_is_let_through():
    with OneDevice():
        X * torch.tensor(2.0) + 1  # a host's number
        X.index_fill_(0, Y, 1)[:, 0].masked_fill_(Y > 0, 2)
        torch.nonzero_static(Y > 0, size=2)


@pytest.mark.parametrize(
    "act",
    [lambda method, ctx, batch, out: out.loss.item(), lambda method, ctx, batch, out: torch.ones(4, 1) * out.logits],
)
def test_a_method_that_waits_or_leaves_a_tensor_on_the_host_fails(away, tiny, monkeypatch, act):
    monkeypatch.setattr(Supervised, "after_step", act)
    with pytest.raises((AssertionError, RuntimeError)):
        run(tiny("train.epochs=1"))


def test_a_read_in_a_step_is_seen(away, tiny, monkeypatch):
    monkeypatch.setattr(Supervised, "after_step", lambda method, ctx, batch, out: host.read(out.loss, "the loss"))
    run(tiny("train.epochs=1"))
    assert Counter(away.reads)[True, "the loss"] == 4


def test_every_read_has_its_reason():
    """The list above is that of the source, and nobody takes another way in training."""
    named = set()
    for path in Path(lilawbench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("host.bring", "host.read"):
                named.add(ast.literal_eval(node.args[1]))
    assert named == set(READS)


@pytest.mark.parametrize("name", LACKS)
def test_what_meta_lacks_it_still_lacks(name):
    """If this fails, take it from the list, and what stands in its place from here."""
    with pytest.raises((RuntimeError, AssertionError)):
        LACKS[name][0]()
