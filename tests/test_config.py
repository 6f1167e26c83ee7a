"""Every YAML composes, is checked and builds; what cannot run is refused with all problems at once."""

import itertools
import sys

import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import OmegaConf

from lilawbench.check import check
from lilawbench.config import bind, build, compose
from lilawbench.support.errors import ConfigError
from lilawbench.train import CONF

CHOICES = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("dataset", "noise", "model", "loss", "method", "logger", "experiment", "debug")
}
NEEDED = {
    "noise=transition": ["noise.matrix=[[.9,.1],[.2,.8]]", "dataset=adult"],
    "dataset=folder": ["dataset.path=my_images"],
    "dataset=table": ["dataset.path=my.csv", "dataset.label=y"],
    "noise=file": ["noise.path=labels.txt"],
    "dataset=embeddings": [
        "dataset.sources={a:a.npz,t:t.npz}",
        "dataset.train=[a]",
        "dataset.test=[t]",
        "dataset.num_classes=3",
    ],
    "noise=label_flip": ["dataset=emotions"],
    "noise=target_gaussian": ["dataset=energy"],
    "noise=target_uniform": ["dataset=energy"],
    "loss=bce": ["dataset=emotions"],
    "loss=squared": ["dataset=energy"],
}
OF_CLASSES = set(CHOICES["noise"]) - {"label_flip", "target_gaussian", "target_uniform"}


def test_the_groups_hold_what_the_readme_says():
    assert {group: len(names) for group, names in CHOICES.items()} == {
        "dataset": 33, "noise": 15, "model": 15, "loss": 13, "method": 8, "logger": 2, "experiment": 96, "debug": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dataset=emotions", "method=rrm", "method.gamma=2", "train.augment.crop_px=1", "model.hidden=[8,8]"],
        ["experiment=digits", "noise=transition", "noise.matrix=[[.9,.1],[.2,.8]]", "dataset.classes=[1,2]"],
        ["+train.typo=1", "dataset=embeddings", "dataset.sources={a:a.npz}", "paths.data_dir=null", "seed=7"],
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
        pytest.param(f"{group}={name}", marks=[pytest.mark.slow] * (group == "experiment" and name != "digits"))
        for group, names in CHOICES.items()
        for name in names
    ],
)
def test_every_yaml_composes_and_passes_the_check(composed, choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").touch()
    check(composed(choice, *NEEDED.get(choice, [])))


@pytest.fixture(scope="module")
def nodes(composing):
    """The composed node of each method and of each loss, made once."""
    methods = {name: composing(f"method={name}").method for name in CHOICES["method"]}
    losses = {name: composing(f"loss={name}").loss for name in CHOICES["loss"]}
    return methods, losses


@pytest.mark.parametrize("method, loss", list(itertools.product(CHOICES["method"], CHOICES["loss"])))
def test_every_method_takes_every_loss(nodes, method, loss):
    methods, losses = nodes
    taken = build(methods[method], loss=bind(losses[loss])).per_sample
    wanted = get_object(losses[loss]["_target_"])
    assert isinstance(taken, wanted) if isinstance(wanted, type) else taken.func is wanted


def test_a_loss_names_its_run_with_plain_training_only(composed):
    assert composed("method=ce", "loss=gce").method.name == "gce"
    assert composed("method=rrm", "loss=gce").method.name == "rrm"


def test_method_focal_brings_its_loss_and_ce_with_it_is_the_same_run(composed):
    one, other = composed("method=focal"), composed("method=ce", "loss=focal")
    assert OmegaConf.to_container(one, resolve=True) == OmegaConf.to_container(other, resolve=True)


@pytest.mark.parametrize("noise", sorted(OF_CLASSES - {"transition", "file", "human", "one_sided"}))
def test_every_noise_runs_on_labels(composed, noise):
    clean = np.repeat(np.arange(10), 20)
    inputs = {"inputs": torch.zeros(200, 1).__getitem__} if noise == "instance" else {}
    observed = bind(composed(f"noise={noise}").noise)(clean, 10, generator=np.random.default_rng(0), **inputs)
    assert observed.shape == clean.shape and observed.dtype == np.int64
    assert (observed != clean).mean() == pytest.approx(0 if noise == "none" else 0.4, abs=0.08)


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
        ("resnet34", (3, 64, 64)),
        ("resnet50", (3, 64, 64)),
        ("vgg19_bn", (3, 64, 64)),
        pytest.param("inception_resnet_v2", (3, 96, 96), marks=pytest.mark.slow),
        ("vit_b16", (1, 28, 28)),
        ("vit_s16", (3, 32, 32)),
        ("rrm_mlp", (1, 28, 28)),
        ("rrm_cnn", (1, 28, 28)),
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
        "yacht": 0.15, "yeast": 0.15, "fashion_mnist_m": 0.15, "mnist_m": 0.15,
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


REFUSED = [
    ("dataset=emotions loss=ce", "loss=ce is for multiclass and binary data; dataset=emotions is multilabel"),
    ("dataset=energy loss=focal", "dataset=energy is regression (fitting: squared)"),
    ("loss=bce", "loss=bce is for multilabel data; dataset=digits is multiclass (fitting: backward_correction"),
    ("dataset=adult loss=squared", "dataset=adult is binary"),
    ("dataset=emotions noise=symmetric", "dataset=emotions is multilabel (fitting: file, label_flip, none)"),
    ("noise=target_gaussian", "noise=target_gaussian is for regression data; dataset=digits is multiclass"),
    ("dataset=energy method=dynamic_loss", "method=dynamic_loss is for multiclass and binary data; dataset=energy is"),
    ("dataset=emotions model.num_classes=8", "multilabel data like dataset=emotions want 6"),
    ("dataset=emotions model.num_classes=2", "model.num_classes is 2; dataset=emotions has 6"),
    ("dataset=embeddings dataset.train=[a] dataset.sources={a:a.npz}", "dataset.test has no value"),
    ("dataset=embeddings dataset.train=[a] dataset.test=[t] dataset.num_classes=2 dataset.sources=a:b", "in quotes"),
    ("dataset=gait dataset.train=[real,test]", "test is in test and in train or meta"),
    ("dataset=gait dataset.meta=[other]", "meta is ['other']; it must list sources"),
    ("dataset=gait dataset.num_classes=null", "num_classes is None; multiclass data need"),
    ("dataset=pain dataset.target_range=0", "target_range is 0"),
    ("dataset=pain dataset.task=ranking", "task is 'ranking'"),
    ("dataset=emotions noise.rate=1", "rate is 1; it must lie in [0, 1)"),
    ("dataset=energy noise.scale=0", "scale is 0"),
    ("dataset=energy method=lilaw method.regression_delta=box", "it must be gaussian or sigmoid"),
    ("+typo=1", "typo is not an option"),
    ("+train.typo=1", "train.typo is not an option (valid: epochs, batch_size"),
    ("+method.typo=1", "method.typo is not an option of ce"),
    ("+noise.typo=1", "noise.typo is not an option of symmetric (valid: rate, exact)"),
    ("+model.typo=1", "model.typo is not an option of mlp (valid: num_classes, hidden, dropout, bias)"),
    ("noise.rate=1", "rate is 1; it must lie in [0, 1)"),
    ("noise.rate=-0.1", "it must lie in [0, 1)"),
    ("noise.rate=much", "noise=symmetric"),
    ("noise=transition", "noise.matrix has no value"),
    ("noise=transition noise.matrix=[[.9,.1],[.3,.7]]", "the matrix is 2 x 2; the data set has 10 classes"),
    ("noise=transition dataset=adult noise.matrix=[[.9,.2],[.3,.7]]", "row 0 sums to 1.1"),
    ("noise=asymmetric noise.pairs={1:12}", "pair 1: 12"),
    ("noise=instance noise.std=0", "noise=instance: std is 0; it must be > 0"),
    ("noise=instance +noise.inputs=x", "noise.inputs is not an option of instance (valid: rate, std)"),
    ("noise=one_sided noise.rate_of=all", "rate_of is 'all'; it must be positives or negatives"),
    ("noise=human noise.labels=worse", "labels is 'worse'; it must be one of aggre, random1"),
    ("noise=file", "noise.path has no value"),
    ("noise=file noise.path=nowhere.npz", "noise=file: path nowhere.npz does not exist"),
    ("noise=kernel noise.kernel=nowhere.csv", "noise=kernel: cannot read nowhere.csv"),
    ("model.num_classes=5", "model.num_classes is 5; dataset=digits has 10 classes"),
    ("method=lilaw split.val_fraction=0", "split.val_fraction must be > 0"),
    ("method=lilaw method.terms=[]", "terms is []"),
    ("method=lilaw method.lr=0", "lr is 0"),
    ("loss=focal loss.gamma=-1", "gamma is -1"),
    ("loss=gce loss.q=0", "q is 0; it must lie in (0, 1]"),
    ("loss=mae loss.scale=total", "scale is 'total'"),
    ("loss=elr loss.beta=1", "beta is 1"),
    ("loss=forward_correction loss.matrix=[[.9,.1],[.2,.8]]", "the matrix is 2 x 2; the data set has 10 classes"),
    ("loss=backward_correction dataset=adult loss.matrix=[[.5,.5],[.5,.5]]", "the matrix is singular"),
    ("train.precision=fp16", "fp16 is refused"),
    ("train.precision=int8", "it must be fp32 or bf16"),
    ("train.device=cuda:77", "train.device=cuda:77 is not there"),
    ("train.device=gpu", "it must be auto, cpu, cuda or cuda:N"),
    ("train.optimizer=lion", "adam, adamw or sgd"),
    ("train.finetune=head", "train.finetune is head; it must be full or linear_probe"),
    ("train.schedule=step", "constant, linear, cosine or multistep"),
    ("train.lr=0", "train.lr is 0.0"),
    ("train.epochs=0", "train.epochs is 0"),
    ("train.batch_size=1", "train.batch_size is 1"),
    ("train.threads=0", "train.threads is 0"),
    ("train.accumulate_steps=0", "train.accumulate_steps is 0; it must be from 1 to 32"),
    ("train.accumulate_steps=9 train.batch_size=17", "it must be from 1 to 8, so that parts of train.batch_size=17"),
    ("method=dynamic_loss train.accumulate_steps=2", "method=dynamic_loss looks ahead on whole batches"),
    ("train.augment.jitter=2", "jitter in [0, 1)"),
    ("train.augment.policy=cifar100", "policy is cifar100; it must be null or one of cifar10, imagenet, svhn"),
    ("train.resize_px=0", "train.resize_px is 0; it must be null or >= 1"),
    ("dataset.classes=[0,12]", "12 is not a class"),
    ("dataset.classes=[3]", "at least two different classes"),
    ("dataset.imbalance=0.5", "imbalance is 0.5; it must be >= 1"),
    ("dataset.per_class=0", "per_class is 0"),
    ("dataset=table dataset.label=y", "dataset.path has no value"),
    ("dataset=table dataset.path=a.csv dataset.label=y dataset.test_fraction=1", "test_fraction is 1"),
    ("dataset=table dataset.path=a.csv dataset.label=y dataset.delimiter=ab", "delimiter is 'ab'"),
    ("dataset=table dataset.path=a.csv dataset.label=y dataset.max_categories=x", "a whole number >= 0"),
    ("dataset=folder dataset.path=a dataset.resize=32", "resize is 32; it must be null or a whole number"),
    ("dataset=clothing1m dataset.train=all", "it must be noisy_train or clean_train"),
    ("dataset=clothing1m train.balanced_samples=1", "train.balanced_samples is 1; it must be null or >= 2"),
    ("split.val_fraction=null", "dataset=digits has no validation rows of its own"),
    ("dataset=mnist dataset.pixels=raw", "it must be standard or unit"),
    ("noise=kernel dataset=mnist dataset.classes=[0,1,2]", "the kernel is 10 x 10; the data set has 3 classes"),
    ("method=rrm method.gamma=0", "gamma is 0; it must be > 0"),
    ("method=rrm method.gamma=abc", "a value is of the wrong type, among method.gamma=abc, method.mu=0.5"),
    ("method=rrm method.mu=0", "mu is 0; it must lie in (0, 1]"),
    ("method=rrm method.mu=1.5", "mu is 1.5; it must lie in (0, 1]"),
    ("method=rrm method.contamination=1", "contamination is 1; it must lie in [0, 1)"),
    ("method=a_rrm method.fgsm.eps=-1", "eps is -1"),
    ("attack.space=pixels", "attack: space is 'pixels'; it must be input or unit"),
    ("method=at +method.fgsm.typo=1", "fgsm.typo is not an option (valid: eps, clip, mode, space)"),
    ("attack.eps=[0,-1]", "attack: eps is -1"),
    ("attack.clip=[1,0]", "it must be null or [lo, hi] with lo < hi"),
    ("split.val_fraction=1", "split.val_fraction is 1.0"),
    ("split.val_labels=true", "observed or clean"),
    ("split.train_samples=1", "split.train_samples is 1"),
    ("dataset=ecg5000 dataset.split=half", "official"),
    ("dataset=cifar10_lt method=lilaw", "split.val_fraction must be > 0"),
    ("dataset=medmnist dataset.flag=chestmnist noise=label_flip", "loss=ce is for multiclass and binary data"),
    ("dataset=chestmnist dataset.classes=[0,1]", "classes, imbalance and per_class are for one class a sample"),
    ("dataset=medmnist dataset.flag=nodulemnist3d", "flag is 'nodulemnist3d'; it must be one of pathmnist"),
    ("dataset=medmnist dataset.size=32", "size is 32; it must be one of 28, 64, 128, 224"),
    ("dataset=digits split.val_fraction=null", "dataset=digits has no validation rows of its own"),
    ("logger=wandb logger.mode=sometimes", "mode is 'sometimes'"),
    ("train.early_stop_epochs=3 split.val_fraction=0", "train.early_stop_epochs watches val_loss"),
    ("seed=-1", "seed is -1"),
]  # fmt: skip


@pytest.mark.parametrize("overrides, message", REFUSED, ids=[overrides for overrides, _ in REFUSED])
def test_what_cannot_run_is_refused(composed, overrides, message):
    with pytest.raises(ConfigError) as refused:
        check(composed(*overrides.split()))
    assert message in str(refused.value)
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize(
    "compiler, headers, message",
    [
        ("no-such-compiler", None, "train.compile=true needs a C++ compiler, and there is no no-such-compiler"),
        (sys.executable, "nowhere", "train.compile=true needs Python's headers, and there is no nowhere/Python.h"),
    ],
)
def test_what_cannot_compile_is_refused(composed, monkeypatch, compiler, headers, message):
    monkeypatch.setenv("CXX", compiler)
    if headers:
        monkeypatch.setattr("sysconfig.get_path", lambda name: headers)
    check(composed("train.device=cpu"))
    with pytest.raises(ConfigError) as refused:
        check(composed("train.device=cpu", "train.compile=true"))
    assert message in str(refused.value) and "or use train.compile=false" in str(refused.value)
    assert len(refused.value.problems) == 1


def test_all_problems_come_at_once(composed):
    with pytest.raises(ConfigError) as refused:
        check(composed("noise.rate=2", "train.lr=-1", "+model.typo=1", "seed=-3", "train.precision=fp16"))
    assert len(refused.value.problems) == 5
    assert str(refused.value).startswith("the configuration has 5 problems:\n  - ")


@pytest.mark.parametrize(
    "override", ["dataset=foo", "method=foo", "noise=foo", "train.epochs=abc", "method.typo=1", "train.compile=always"]
)
def test_hydra_refuses_the_rest_at_compose(composed, override):
    with pytest.raises(HydraException):
        composed(override)
