"""Every YAML composes, is checked and builds."""

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import OmegaConf

from lilawbench.check import check
from lilawbench.config import bind, build, compose
from lilawbench.support.errors import ConfigError
from lilawbench.train import CONF

CHOICES = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("dataset", "noise", "model", "loss", "method", "probe", "logger", "experiment", "debug")
}
NEEDED = {
    "noise=transition": ["noise.matrix=[[.9,.1],[.2,.8]]", "dataset=adult"],
    "dataset=folder": ["dataset.path=my_images"],
    "dataset=text": ["dataset.path=my.csv"],
    "dataset=table": ["dataset.path=my.csv", "dataset.label=y"],
    "dataset=arrays": ["dataset.path=my.npz"],
    "dataset=shards": ["dataset.path=my_shards"],
    "dataset=hf": ["dataset.path=my_dataset"],
    "noise=file": ["noise.path=labels.txt"],
    "dataset=embeddings": [
        "dataset.sources={a:a.npz,t:t.npz}",
        "dataset.train=[a]",
        "dataset.test=[t]",
        "dataset.num_classes=3",
    ],
    "model=text_cnn": ["dataset=imdb"],
    "model=distilbert_lora": ["dataset=imdb"],
    "noise=label_flip": ["dataset=emotions"],
    "noise=target_gaussian": ["dataset=energy"],
    "noise=target_uniform": ["dataset=energy"],
    "loss=bce": ["dataset=emotions"],
    "loss=squared": ["dataset=energy"],
    "probe=threshold": ["dataset=energy", "probe.threshold.above=20"],
}
SAMPLED = dict.fromkeys(CHOICES, 2) | {"experiment": 24}  # one in so many is in the default tests, the others are slow
OF_CLASSES = set(CHOICES["noise"]) - {"label_flip", "target_gaussian", "target_uniform"}


def test_no_choice_of_a_group_is_lost():
    """A group may grow, and the tests over all of its choices are not empty."""
    at_least = {"dataset": 43, "noise": 19, "model": 20, "loss": 13, "method": 11, "probe": 1, "logger": 4,
                "experiment": 96, "debug": 1}  # fmt: skip
    assert CHOICES.keys() == at_least.keys()
    assert [group for group, count in at_least.items() if len(CHOICES[group]) < count] == []


@pytest.mark.every(4)
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dataset=emotions", "method=rrm", "method.gamma=2", "train.augment.crop_px=1", "model.hidden=[8,8]"],
        ["experiment=digits", "noise=transition", "noise.matrix=[[.9,.1],[.2,.8]]", "dataset.classes=[1,2]"],
        pytest.param(
            ["+train.typo=1", "dataset=embeddings", "dataset.sources={a:a.npz}", "paths.data_dir=null", "seed=7"],
            marks=pytest.mark.slow,
        ),
        ["experiment=rrm_table8", "~noise.exact", "++method.mu=.1", "loss=gce"],
    ],
)  # fmt: skip
def test_the_tests_own_composing_is_hydras(composed, tmp_path, overrides):
    theirs = compose(f"paths.output_dir={tmp_path}/outputs", "train.threads=1", *overrides)
    for _ in range(2):
        ours = composed(*overrides)
        assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
        assert OmegaConf.is_struct(ours) and OmegaConf.is_struct(theirs)
        ours.train.epochs = 99  # of this copy alone


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(f"{group}={name}", marks=[pytest.mark.slow] * (name != "digits" and number % SAMPLED[group] > 0))
        for group, names in CHOICES.items()
        for number, name in enumerate(names)
    ],
)
def test_every_yaml_composes_and_passes_the_check(composed, choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").touch()
    cfg = composed(choice, *NEEDED.get(choice, []))
    check(cfg)
    cfg.train.epochs = 0  # the negative control: it was looked at
    with pytest.raises(ConfigError, match="train.epochs is 0"):
        check(cfg)


OWN_LOSS = ("disc", "elr_plus", "gjs", "sop", "sop_plus")


@pytest.fixture(scope="module")
def nodes(composing):
    """The composed node of each method and of each loss, made once."""
    methods = {name: composing(f"method={name}").method for name in CHOICES["method"]}
    losses = {name: composing(f"loss={name}").loss for name in CHOICES["loss"]}
    return methods, losses


@pytest.mark.every(2)
@pytest.mark.parametrize("method", CHOICES["method"])
def test_every_method_takes_every_loss_or_says_that_it_has_its_own(nodes, method):
    methods, losses = nodes
    for name, loss in losses.items():
        if method in OWN_LOSS and name != "ce":
            with pytest.raises(InstantiationException, match="it has a loss of its own, .* take loss=ce"):
                build(methods[method], loss=bind(loss))
            continue
        taken = build(methods[method], loss=bind(loss)).per_sample
        wanted = get_object(loss["_target_"])
        assert isinstance(taken, wanted) if isinstance(wanted, type) else taken.func is wanted, loss


def test_a_loss_names_its_run_with_plain_training_only(composed):
    assert composed("method=ce", "loss=gce").method.name == "gce"
    assert composed("method=rrm", "loss=gce").method.name == "rrm"


def test_method_focal_brings_its_loss_and_ce_with_it_is_the_same_run(composed):
    one, other = composed("method=focal"), composed("method=ce", "loss=focal")
    assert OmegaConf.to_container(one, resolve=True) == OmegaConf.to_container(other, resolve=True)


PAPERS = {"asymmetric_cifar10", "asymmetric_elr_cifar100", "asymmetric_sop_cifar100"}  # see noise/test_blocks.py


@pytest.mark.parametrize("noise", sorted(OF_CLASSES - PAPERS - {"transition", "file", "human", "one_sided"}))
def test_every_noise_runs_on_labels(composed, noise):
    clean = np.repeat(np.arange(10), 20)
    inputs = {"inputs": torch.zeros(200, 1).__getitem__} if noise == "instance" else {}
    node = composed(f"noise={noise}").noise
    observed = bind(node)(clean, 10, generator=np.random.default_rng(0), **inputs)
    assert observed.shape == clean.shape and observed.dtype == np.int64
    assert (observed != clean).mean() == pytest.approx(0 if noise == "none" else node.get("rate", 0.4), abs=0.08)


@pytest.mark.every(4)
@pytest.mark.parametrize(
    "model, shape",
    [
        ("mlp", (1, 8, 8)),
        ("cnn", (1, 8, 8)),
        ("lstm", (20, 1)),
        ("resnet18", (1, 28, 28)),
        ("resnet32", (3, 32, 32)),
        ("preact_resnet18", (3, 32, 32)),
        ("resnet10", (3, 64, 64)),
        pytest.param("resnet34", (3, 64, 64), marks=pytest.mark.slow),
        ("resnet50", (3, 64, 64)),
        ("vgg19_bn", (3, 64, 64)),
        pytest.param("inception_resnet_v2", (3, 96, 96), marks=pytest.mark.slow),
        pytest.param("vit_b16", (1, 28, 28), marks=pytest.mark.slow),
        ("vit_s16", (3, 32, 32)),
        ("rrm_mlp", (1, 28, 28)),
        ("rrm_cnn", (1, 28, 28)),
        ("co_cnn", (3, 32, 32)),
        ("jocor_cnn", (3, 32, 32)),
    ],
)
def test_every_model_builds_and_runs(composed, model, shape):
    with torch.device("meta"):  # shapes without the arithmetic, and without a gigabyte of VGG
        net = build(composed(f"model={model}").model, num_classes=3, input_shape=shape).eval()
        assert net(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.slow
def test_validation_fractions_of_the_papers(composed):
    fractions = {name: composed(f"dataset={name}").split.val_fraction for name in CHOICES["dataset"]}
    assert fractions == {
        "digits": 0.15, "mnist": 0.15, "fashion_mnist": 0.15, "adult": 0.10, "ecg5000": 0.05, "ecg5000_a": 0.05,
        "cifar10": 0.15, "cifar10_m": 0.15, "cifar10_lt": 0, "cifar100": 0.15, "cifar100_m": 0.15, "cifar100_lt": 0,
        "cifar10n": 0.15, "cifar100n": 0.15, "medmnist": None, "table": 0.15, "folder": 0.15, "food101n": 0.05,
        "animal10n": 0.05, "webvision_mini": 0.05, "clothing1m": None, "imagenet_lt": None, "concrete": 0.15,
        "embeddings": 0.15, "emotions": 0.15, "energy": 0.15, "gait": None, "pain": None, "chestmnist": None,
        "yacht": 0.15, "yeast": 0.15, "fashion_mnist_m": 0.15, "mnist_m": 0.15, "arrays": 0.15,
        "hf": 0.15, "shards": 0.15, "imdb": 0.15, "movie_reviews": 0.15, "pros_cons": 0.15, "sentence_polarity": 0.15,
        "text": 0.15, "toxic_comments": 0, "necrosis": 0.15,
    }  # fmt: skip


@pytest.mark.parametrize(
    "dataset, target, model",
    [
        ("cifar10_m", "CIFAR10", "resnet32"),
        ("cifar100_lt", "CIFAR100", "resnet32"),
        ("ecg5000_a", "ECG5000A", "lstm"),
    ],
)
def test_a_preset_is_its_data_set_by_another_name(composed, dataset, target, model):
    cfg = composed(f"dataset={dataset}")
    assert (cfg.dataset.name, cfg.model.name) == (dataset, model)
    assert cfg.dataset["_target_"].endswith(f".{target}")
    base = composed(f"dataset={dataset.rsplit('_', 1)[0]}")
    assert cfg.train == base.train
    assert cfg.dataset.imbalance == (100 if dataset.endswith("_lt") else None) and base.dataset.imbalance is None


def test_ecg5000_brings_its_model_unless_another_is_chosen(composed):
    assert composed("dataset=ecg5000").model.name == "lstm"
    assert composed("dataset=ecg5000", "model=mlp").model.name == "mlp"


@pytest.mark.parametrize(
    "overrides, loss, noise, method",
    [
        ("", "ce", "symmetric", "ce"),
        ("dataset=adult", "ce", "symmetric", "ce"),
        ("dataset=cifar100n", "ce", "human", "ce"),
        ("dataset=emotions", "bce", "label_flip", "bce"),
        ("dataset=energy", "squared", "target_gaussian", "squared"),
        ("dataset=energy method=lilaw noise=target_uniform", "squared", "target_uniform", "lilaw"),
        ("dataset=emotions method=rrm loss=focal noise=none", "focal", "none", "rrm"),
        ("dataset=emotions method=focal", "focal", "label_flip", "focal"),
    ],
)
def test_the_data_set_brings_loss_and_noise_unless_others_are_chosen(composed, overrides, loss, noise, method):
    cfg = composed(*overrides.split())
    assert (cfg.loss.name, cfg.noise.name, cfg.method.name) == (loss, noise, method)
    check(cfg)


@pytest.mark.parametrize(
    "options, task",
    [
        ("dataset=digits", "multiclass"),
        ("dataset=adult", "binary"),
        ("dataset=mnist dataset.classes=[4,9]", "binary"),
        ("dataset=yeast", "multilabel"),
        ("dataset=yacht", "regression"),
    ],
)
def test_the_task_follows_from_the_data_set(composed, options, task):
    assert build(composed(*options.split()).dataset).task == task
