"""The runs that are compared, with their options. $DATA is the folder of generated files (data.py)."""

import re
from pathlib import Path

DEFAULTS = ("ce", "symmetric")  # of a config that chooses no loss and no noise

# Options of every run, which its own override. At this rate networks learn something in twelve steps: probabilities
# near 1 / K would hide what losses do elsewhere.
BASE = (
    "train.threads=1 train.log_every_steps=1 train.epochs=3 train.batch_size=32 train.lr=0.03 split.train_samples=128"
)
SMALL_MLP = "model.hidden=[16]"  # for runs that choose no model

DYNAMIC = "method=dynamic_loss method.num_bins=4 method.warmup_epochs=1"
RRM = "method=rrm method.reweight_every_epochs=1"
TABLE = "dataset=table dataset.path=$DATA/table.csv"
ONE_SOURCE = "dataset=embeddings dataset.sources={a:$DATA/a.npz,t:$DATA/t.npz} dataset.train=[a] dataset.test=[t]"
MULTILABEL = (
    "dataset=embeddings dataset.sources={a:$DATA/multi_a.npz,t:$DATA/multi_t.npz} dataset.train=[a] dataset.test=[t] "
    "dataset.task=multilabel dataset.num_classes=3 noise=label_flip"
)
REGRESSION = "dataset=table dataset.path=$DATA/table.csv dataset.label=dose dataset.task=regression loss=squared"
FOLDER = "dataset=folder dataset.path=$DATA/images dataset.size=16 model=cnn dataset.threads=1"

METHODS = {
    "ce": "method=ce",
    "focal": "method=focal",
    "lilaw": "method=lilaw method.lr=0.5",
    "lilaw, scales": "method=lilaw method.lr=[0.5,0.2,0.1] method.scales=true",
    "lilaw, two terms": "method=lilaw method.lr=0.5 method.terms=[alpha,beta] method.clamp=false",
    "lilaw, meta_mode": "method=lilaw method.meta_mode=train method.meta_every_steps=2 model.dropout=0.3",
    "lilaw, detached": "method=lilaw method.detach_weight=true loss=focal",
    "rrm": f"{RRM} method.gamma=0.1",
    "rrm, training losses": f"{RRM} method.reweight_losses=training loss=mse",
    "rrm, loss_scale": f"{RRM} method.gamma=0.1 method.loss_scale=paper train.optimizer=sgd train.lr=0.5",
    "rrm, contamination": f"{RRM} method.contamination=0.3 method.mu=1.0",
    "at": "method=at method.fgsm.eps=0.1",
    "at, unit": "method=at method.fgsm.eps=0.1 method.fgsm.space=unit method.fgsm.mode=train model.dropout=0.3",
    "a_rrm": "method=a_rrm method.reweight_every_epochs=1 method.gamma=0.1 method.fgsm.eps=0.1 method.fgsm.clip=[-2,2]",
    "dynamic_loss": DYNAMIC,
    "dynamic_loss, double_backward": f"{DYNAMIC} method.hypergradient=double_backward method.meta_net=vector",
    "dynamic_loss, finite_difference": f"{DYNAMIC} method.hypergradient=finite_difference method.class_wise=false",
    "dynamic_loss, balanced_softmax": f"{DYNAMIC} method.margin=balanced_softmax method.meta_sampling=random",
    "dynamic_loss, softmax": f"{DYNAMIC} method.pseudo_label=softmax method.meta_sampling=lowest_loss",
    "dynamic_loss, sgd": f"{DYNAMIC} train.optimizer=sgd train.weight_decay=1e-3 train.clip_grad_norm=0.5",
    "dynamic_loss, adamw": f"{DYNAMIC} train.optimizer=adamw train.weight_decay=0.1",
    "dynamic_loss, margins alone": f"{DYNAMIC} method.corrector=false method.reuse_forward=false",
    "dynamic_loss, finetune_on_meta": f"{DYNAMIC} method.finetune_on_meta=true model=resnet32 model.depth=8",
    "dynamic_loss_lt": "method=dynamic_loss_lt method.num_bins=4 method.warmup_epochs=1 dataset.imbalance=3",
}
LOSSES = {
    "gce": "loss=gce",
    "sce": "loss=sce",
    "mae": "loss=mae",
    "mse": "loss=mse loss.scale=mean",
    "label_smoothing": "loss=label_smoothing",
    "bootstrapping": "loss=bootstrapping",
    "bootstrapping, hard": "loss=bootstrapping loss.kind=hard method=lilaw",
    "elr": "loss=elr train.lr=0.1",
    "forward_correction": "loss=forward_correction loss.warmup_epochs=1",
    "backward_correction": "loss=backward_correction loss.warmup_epochs=1",
}
NOISE = {
    "noise none": "noise=none method=lilaw",
    "noise symmetric, Bernoulli": "noise=symmetric noise.exact=false noise.rate=0.2 seed=3",
    "noise symmetric_inclusive": "noise=symmetric_inclusive",
    "noise asymmetric": "noise=asymmetric noise.pairs={7:1,2:7,5:6,6:5,3:8}",
    "noise class_frequency": "noise=class_frequency dataset.imbalance=10",
    "noise dirichlet": "noise=dirichlet",
    "noise kernel": "noise=kernel",
    "noise instance": "noise=instance",
    "noise file": "noise=file noise.path=$DATA/labels.txt",
    "noise transition": "noise=transition noise.matrix=[[.9,.1],[.3,.7]] dataset.classes=[4,9]",
    "noise one_sided": "noise=one_sided dataset.classes=[4,9]",
}
DATA = {
    "table": f"{TABLE} dataset.label=diagnosis dataset.ignore=[dose,clean] dataset.groups=[sex] method=lilaw",
    "table, clean labels": f"{TABLE} dataset.label=diagnosis dataset.clean_label=clean dataset.ignore=[dose] {RRM}",
    "table, binary": f"{TABLE} dataset.label=sex dataset.ignore=[dose,clean] noise=one_sided method=lilaw",
    "table, regression": f"{REGRESSION} dataset.ignore=[clean] noise=target_gaussian method=lilaw",
    "table, regression, uniform": f"{REGRESSION} dataset.ignore=[clean] noise=target_uniform {RRM}",
    "regression, plain": f"{REGRESSION} dataset.ignore=[clean] method=lilaw method.regression_delta=sigmoid",
    "multilabel": f"{MULTILABEL} loss=bce",
    "multilabel, lilaw": f"{MULTILABEL} loss=focal method=lilaw noise.absent_rate=0.05",
    "embeddings": f"{ONE_SOURCE} dataset.num_classes=3 dataset.standardise=false noise=symmetric",
    "embeddings, official validation rows": "dataset=embeddings "
    "dataset.sources={a:$DATA/a.npz,b:$DATA/b.npz,v:$DATA/v.npz,s:$DATA/s.npz,t:$DATA/t.npz} dataset.train=[a,b] "
    "dataset.meta=[a,v] dataset.test=[s,t] dataset.num_classes=3 split.val_fraction=null noise=symmetric method=lilaw",
    "folder": FOLDER,
    "folder, streamed": f"{FOLDER} dataset.resident_gb=0 noise=symmetric method=lilaw",
    "folder, AutoAugment": f"{FOLDER} train.augment.policy=cifar10",
    "classes, imbalance, per_class": "dataset.classes=[3,1,7] dataset.imbalance=5 dataset.per_class=60",
}
OPTIONS = {
    "linear probe": "train.finetune=linear_probe model.hidden=[16,12,8] method=lilaw",
    "linear probe, no cache": "train.finetune=linear_probe model.hidden=[16,12,8] train.cache_features=false",
    "accumulate_steps": "train.accumulate_steps=3 method=lilaw",
    "attack": "attack.eps=[0,0.1,0.5] attack.clip=[-2,2]",
    "attack, unit": "attack.eps=[0.1] attack.space=unit attack.sign=false",
    "early stop": "train.epochs=12 train.early_stop_epochs=2 train.lr=0.05",
    "val_augment": "split.val_augment=true method=lilaw",
    "augment": "model=cnn train.augment={crop_px:1,flip:true,rotate_degrees:10,jitter:0.2}",
    "resize_px": "model=cnn train.resize_px=12 train.epochs=2",
    "balanced_samples": "train.balanced_samples=96 dataset.imbalance=5",
    "clean validation labels": "split.val_labels=clean method=lilaw",
    "no validation rows": f"split.val_fraction=0 {DYNAMIC}",
    "clip_grad_norm": "train.clip_grad_norm=0.5 method=lilaw",
    "sgd, cosine": "train.optimizer=sgd train.nesterov=true train.lr=0.1 train.schedule=cosine train.weight_decay=1e-3",
    "adamw, linear": "train.optimizer=adamw train.weight_decay=0.1 train.schedule=linear",
    "multistep": "train.schedule=multistep train.milestones_epochs=[1,2] seed=1",
    "bf16": "train.precision=bf16 method=lilaw",
    "bf16, dynamic_loss": f"train.precision=bf16 {DYNAMIC}",
    "channels_last": "model=cnn train.channels_last=true",
    "more outputs": "model.num_classes=12",
}
MODELS = {
    "lstm": "model=lstm model.hidden=8",
    "mlp, dropout": "model.dropout=0.3 model.bias=false",
    "resnet32": "model=resnet32 model.depth=8 method=lilaw",
    "resnet10": "model=resnet10 split.train_samples=64 train.epochs=1",
    "preact_resnet18": "model=preact_resnet18 model.blocks=[1,1,1,1] split.train_samples=64 train.epochs=1",
}
RUNS = METHODS | LOSSES | NOISE | DATA | OPTIONS | MODELS

# on real data, if LILAWBENCH_DATA is set
REAL = {
    "adult": "dataset=adult method=lilaw",
    "ecg5000": "dataset=ecg5000 model=lstm model.hidden=4 train.epochs=1",
    "ecg5000_a": "dataset=ecg5000_a model=mlp model.hidden=[16]",
    "breastmnist": "dataset=medmnist model=rrm_cnn method=lilaw train.epochs=2",
    "fashion_mnist": "dataset=fashion_mnist dataset.imbalance=100",
    "mnist": "dataset=mnist dataset.pixels=unit dataset.classes=[0,1,2] noise=kernel "
    "noise.kernel=[[0,.5,.5],[1,0,0],[.2,.8,0]]",
    "emotions": "dataset=emotions method=lilaw",
    "concrete": "dataset=concrete method=lilaw",
    "noise human": f"{ONE_SOURCE} dataset.num_classes=10 dataset.sources.a=$DATA/human_a.npz "
    "dataset.sources.t=$DATA/human_t.npz noise=human noise.labels=worst",
}
# stopped after the first epoch's checkpoint, then resumed by the same command
RESUMED = {
    name: f"{METHODS[name]} model.dropout=0.3 train.schedule=cosine" for name in ("ce", "lilaw", "rrm", "dynamic_loss")
}
# by two processes
TWO_RANKS = {name: f"{METHODS[name]} train.epochs=2" for name in ("ce", "lilaw", "rrm", "dynamic_loss")}


def unnamed(*checkouts: Path) -> dict[str, str]:
    """A run with defaults for each method, loss and noise that all checkouts have and no run above covers."""
    text, runs = " ".join((RUNS | REAL).values()), {}
    for group in ("method", "loss", "noise"):
        named = {*re.findall(rf"\b{group}=(\w+)", text), *DEFAULTS}
        there = [{path.stem for path in (checkout / "conf" / group).glob("*.yaml")} for checkout in checkouts]
        runs |= {f"{group} {name}": f"{group}={name}" for name in sorted(set.intersection(*there) - named)}
    return runs


def chosen(only: str | None, real: bool, *checkouts: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Names and options of the runs in one process and of those in two, if their names contain `only`."""
    alone = (
        RUNS
        | unnamed(*checkouts)
        | (REAL if real else {})
        | {f"resumed: {name}": text for name, text in RESUMED.items()}
    )
    ranks = {f"two ranks: {name}": text for name, text in TWO_RANKS.items()}
    return tuple({name: text for name, text in runs.items() if (only or "") in name} for runs in (alone, ranks))


def options(text: str, data: str) -> list[str]:
    """The options of a run, one by one."""
    model = "" if "model=" in text else SMALL_MLP
    return f"{BASE} {model} {text}".replace("$DATA", data).split()
