"""The benchmarks' scenes, sized for a GPU or tiny."""

from typing import NamedTuple

from benchmarks.scenes import Scene

from lilawbench.config import CONF

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
# on every network; the others on one each part, so that all parts end in time
CORE = ("ce", "focal", "lilaw", "rrm", "a_rrm", "at", "dynamic_loss", "dynamic_loss_lt")
# options that make a method do on few rows and steps what it does on many
ACTING = {
    "lilaw": ["method.lr=0.05"],
    "rrm": ["method.reweight_every_epochs=1"],
    "a_rrm": ["method.reweight_every_epochs=1", "method.fgsm.eps=0.01"],
    "at": ["method.fgsm.eps=0.01"],
    "co_teaching": ["method.ramp_epochs=1", "method.forget_rate=0.3"],
    "co_teaching_plus": ["method.ramp_epochs=1", "method.forget_rate=0.3", "method.init_epochs=1"],
    "jocor": ["method.ramp_epochs=1", "method.forget_rate=0.3"],
    "promix": ["method.warmup_epochs=0", "method.ramp_epochs=0", "method.pseudo_ramp_epochs=0"],
    "promix_rrm": ["method.warmup_epochs=0", "method.ramp_epochs=0", "method.pseudo_ramp_epochs=0"],
    "dynamic_loss": ["method.num_bins=4", "method.warmup_epochs=1", "method.pseudo_label=softmax"],
    "dynamic_loss_lt": ["method.num_bins=4", "method.warmup_epochs=1", "method.pseudo_label=softmax"],
    "clean_first": ["method.folds=2"],
}
SGD = ["train.optimizer=sgd", "train.lr=0.01"]  # Adam turns gradients that are only rounding into full steps
BF16 = ["train.precision=bf16", "train.channels_last=true"]


class Net(NamedTuple):
    """A scene and the options of its model."""

    name: str
    scene: Scene
    options: tuple[str, ...] = ()


def acting(method: str) -> list[str]:
    return [f"method={method}", *ACTING.get(method, [])]


def nets(tiny: bool) -> list[Net]:
    """One network of each kind, small enough for the CPU as well."""
    vit = ("+model.options={depth:2,embed_dim:48,num_heads:3}",)
    if tiny:
        return [
            Net("mlp", Scene("mlp", (1, 8, 8), 16, 1), ("model.hidden=[16,8]",)),
            Net("small cnn", Scene("cnn", (1, 8, 8), 16, 1), ("model.channels=[4,4,4]", "model.dense=8")),
            Net("lstm", Scene("lstm", (10, 1), 16, 1), ("model.hidden=8",)),
            Net("resnet32", Scene("resnet32", (3, 16, 16), 16, 1), ("model.depth=8",)),
            Net("small ViT", Scene("vit_s16", (3, 32, 32), 16, 1), vit),
        ]
    return [
        Net("mlp", Scene("mlp", (1, 28, 28), 128, 1)),
        Net("small cnn", Scene("cnn", (1, 28, 28), 64, 1)),
        Net("lstm", Scene("lstm", (140, 1), 32, 1)),
        Net("resnet32", Scene("resnet32", (3, 32, 32), 32, 1)),
        Net("small ViT", Scene("vit_s16", (3, 64, 64), 32, 1), vit),
    ]
