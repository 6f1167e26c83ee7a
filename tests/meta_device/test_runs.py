"""Every method, loss, task and model trains and is evaluated on one device, and waits for it at the places of READS."""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from PIL import Image

import lilawbench
from lilawbench.augment.transforms import Augment
from lilawbench.config import CONF
from lilawbench.datasets.base import Source
from lilawbench.datasets.text_zips import SentencePolarity
from lilawbench.engine import loop
from lilawbench.loading.batches import MetaLoader, TrainLoader
from lilawbench.loading.image_files import ImageFiles
from lilawbench.loading.streamed import Streamed
from lilawbench.methods.supervised import Supervised
from lilawbench.pipeline import initialise_network
from lilawbench.support import host
from lilawbench.support.errors import ConfigError
from lilawbench.tasks import tasks_of
from lilawbench.train import run

META = torch.device("meta")
METHODS = ("lilaw", "rrm", "dynamic_loss")  # by default; plain training is among the losses
NAMES = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in ("method", "loss", "model")}

# Every place that waits for the device, as `host.bring` and `host.read` name it, and why it must.
READS = {
    # in a step
    "finite losses": "a loss that is not finite ends the run; asked every 50 steps and after the last",
    "whether a forward can be repeated": "Dynamic Loss, MW-Net: a look-ahead is wrong on a network with a hidden "
    "state of its own; asked at the first step of an epoch",
    # once an epoch
    "rows that train": "Dynamic Loss, clean first: how many steps an epoch has; the host shuffles the rows left",
    "losses of an epoch": "they are written; and the seconds of an epoch end when its work is done",
    "trace of an epoch": "LiLAW: alpha, beta, delta after each step are written",
    "lowest weight of an epoch": "a method that gave a sample a negative weight ends the run",
    "passes of an epoch": "several processes: what it cost, of all together",
    "how many rows were seen": "RRM of training losses: they are re-weighted among themselves",
    "losses to divide": "DivideMix and Co-teaching: scikit-learn fits the mixture of losses on the host",
    "rows whose label is predicted": "PES: how many there are; the host shuffles them",
    "how many rows are labelled": "RRM over labelled rows: they are re-weighted among themselves",
    "losses to re-weight": "RRM: losses that are not finite end the run",
    "re-weightings": "RRM: written",
    "mean of g": "Dynamic Loss: written",
    "shares of the sets": "DISC: written",
    "epoch to measure": "the logits of training and what a method made of each sample: metrics are the host's work",
    "logits to measure": "of validation and test rows",
    "features to measure": "of training rows, for detectors that ask for them",
    "inputs to measure": "likewise, where rows are vectors",
    "gradients to measure": "likewise, norms of each row's",
    "attacked logits to measure": "of test rows",
    "labels to measure against": "of all three",
    "weights to keep": "those of the best epoch so far, which training goes on from, and in the end those of the last",
    # once a run
    "labels to balance": "train.balanced_samples: the host draws as many rows of each class",
    "labels of the folds": "their files say which labels they are of",
    "labels that may be wrong": "clean first: confident learning is the host's work",
    "logits of a fold": "of the rows that its network did not train on",
    "labels at setup": "Dynamic Loss: the size of the meta set follows from that of the smallest class",
    "estimated matrix": "loss corrections: it is inverted, and checked, on the host",
    # never with rows of one device
    "rows of images in files": "Dynamic Loss on images in files: the rows of its meta batch, which the host opens",
    "rows of a loss that is not finite": "the run ends",
}

WRITTEN = {"epoch to measure", "logits to measure", "labels to measure against", "attacked logits to measure",
           "weights to keep"}  # fmt: skip
LOOK_AHEAD = {"labels at setup": 1, "rows that train": 1, "whether a forward can be repeated": 1, "mean of g": 1}
CO_TEACHING = {"losses to divide": 1, "lowest weight of an epoch": 2}
OWN = {  # in two epochs of four steps
    "lilaw": {"trace of an epoch": 2, "lowest weight of an epoch": 1},
    "rrm": {"losses to re-weight": 2, "re-weightings": 2, "lowest weight of an epoch": 2},
    "a_rrm": {"losses to re-weight": 2, "re-weightings": 2, "lowest weight of an epoch": 2},
    "dynamic_loss": LOOK_AHEAD,
    "l2rw": {"lowest weight of an epoch": 2},
    "mw_net": {"lowest weight of an epoch": 2, "whether a forward can be repeated": 2},
    "clean_first": {
        "rows that train": 6,
        "labels that may be wrong": 1,
        "labels of the folds": 1,
        "logits of a fold": 2,
        "finite losses": 6,
        "losses of an epoch": 6,
    },
    "dynamic_loss_lt": LOOK_AHEAD,
    "cdr": {"losses to divide": 1},
    "promix": {"lowest weight of an epoch": 1},
    "promix_rrm": {"losses to re-weight": 2, "re-weightings": 2, "lowest weight of an epoch": 1},
    "dividemix": {"losses to divide": 1},
    "dividemix_rrm": {"losses to divide": 1, "losses to re-weight": 2, "re-weightings": 1},
    "pes": {"rows whose label is predicted": 1},
    "disc": {"shares of the sets": 2},
    "co_teaching": CO_TEACHING,
    "co_teaching_plus": CO_TEACHING,
    "jocor": CO_TEACHING,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in METHODS)) for name in NAMES["method"]]
)
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


@pytest.mark.every(6)
@pytest.mark.parametrize("name", NAMES["loss"])
def test_every_loss_is_on_one_device(away, small, name):
    loss = OmegaConf.load(CONF / "loss" / f"{name}.yaml")
    task = next(
        task for task in ("multiclass", "multilabel", "regression") if task in tasks_of(get_object(loss._target_))
    )
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
TEXT = ("distilbert_lora", "text_cnn")  # the second has a test of its own


@pytest.mark.parametrize("method", ["lilaw", pytest.param("dynamic_loss", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in NAMES["model"] if name not in TEXT],
)
def test_every_model_is_on_one_device(away, small, acting, monkeypatch, name, method):
    """With its look-ahead in forward mode, or the two backward passes that stand in where there is none."""

    def made_there(*described):
        with META:
            return initialise_network(*described)

    monkeypatch.setattr("lilawbench.pipeline.initialise_network", made_there)  # random weights take their time
    shape = INPUTS.get(name, (3, 32, 32))
    input = torch.randint(256, (60, *shape), dtype=torch.uint8) if len(shape) == 3 else torch.randn(60, *shape)
    short = ["method.warmup_epochs=0", "train.epochs=1", "train.batch_size=30", "attack.eps=[0.1]"]
    short += ["keep.weights=false", "keep.predictions=false"]
    run(small("multiclass", *acting(method), f"model={name}", *short, input=input))
    assert {why for in_step, why in away.reads if in_step} <= {"whether a forward can be repeated"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lilaw", "dynamic_loss", "rrm"])
def test_texts_are_on_one_device(away, composed, acting, monkeypatch, method):
    words, label = torch.randint(10, (60, 5)), np.arange(60) % 10
    source = Source(words, label, words[:20], label[:20], tuple("0123456789"), vocabulary=10, clean_known=True)
    monkeypatch.setattr(SentencePolarity, "num_classes", 10)
    monkeypatch.setattr(SentencePolarity, "load", lambda dataset, data_dir: source)
    run(composed("dataset=sentence_polarity", *acting(method), "train.epochs=2", "train.batch_size=16"))
    assert {why for in_step, why in away.reads if in_step} <= {"whether a forward can be repeated"}


def test_images_in_files_are_on_one_device_and_wait_for_nobody(away, tmp_path):
    """Their rows are chosen on the host, where they are opened."""
    for row in range(9):
        Image.fromarray(np.zeros((6, 6, 3), dtype=np.uint8)).save(tmp_path / f"{row}.png")
    files = ImageFiles(tmp_path, np.array([f"{row}.png" for row in range(9)], dtype=np.bytes_), size=4, resize=6)
    data = Streamed(files, torch.arange(9), (0.5,) * 3, (0.2,) * 3, META)
    with away.watch:
        meta = MetaLoader(data, 0)
        for batch in [
            *TrainLoader(data, 4, 0, Augment(crop_px=1, flip=True)).epoch(1),
            *data.in_order(4),
            meta(4),
            meta(4),
        ]:
            assert all(part.is_meta for part in batch.tensors())
    assert not away.reads
    data.batch(batch.index)
    assert [why for _, why in away.reads] == ["rows of images in files"]


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
            func = getattr(node, "func", None)
            if getattr(func, "attr", None) in ("bring", "read") and ast.unparse(func.value) == "host":
                named.add(ast.literal_eval(node.args[1]))
    assert named == set(READS)
