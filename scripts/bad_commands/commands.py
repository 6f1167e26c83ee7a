"""Bad commands, made from the options' own types, over all groups, blocks and launchers; and what else one may say.

An option's values are bad by its type, or merely odd: negative, huge, empty. A command with a bad one must be refused;
one with an odd one may run, as long as it ends with a message and leaves nothing behind when it is refused.
"""

import collections.abc
import itertools
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from lilawbench.check.options import _options_of
from lilawbench.config import Plain
from lilawbench.experiment.composer import composer
from lilawbench.launch.options import KINDS
from lilawbench.schema import Config
from lilawbench.support import searchpath
from lilawbench.support.locate import locate

NAMED = ("dataset", "noise", "model", "loss", "method", "logger", "probe")
TINY = ["split.train_samples=64", "train.batch_size=32", "train.epochs=1", "train.threads=1"]
# kind -> values that are not of it
BAD = {
    bool: ["no", "off", "perhaps", "1", "0", "null", "[true]", "1.5", "{a: 1}", "''"],
    int: ["1.5", "3.0", "true", "abc", "inf", "nan", "[[1]]", "{a: 1}", "''", "1e30", "99999999999999999999"],
    float: ["abc", "inf", "-inf", "nan", "1e300", "true", "[[1]]", "{a: 1}", "''", "1,5"],
    str: ["5", "true", "1.5", "[[a]]", "{a: b}"],
    list: ["x", "5", "true", "{a: 1}", "[[[[1]]]]", "''", "[{a: b}]"],
    dict: ["x", "5", "true", "[1]", "''"],
}
ODD = {
    bool: ["true", "false"],
    int: ["-1", "0", "9999999"],
    float: ["-1", "0", "1", "1e-300", "1e30"],
    str: ["''", "nonsense", "../../x", "'a b'", "ü", "'a/b'", "null"],
    list: ["[]", "[-1]", "[0]", "[a]", "null"],
    dict: ["{}", "{a: a}", "{1: 1}", "null"],
}
TARGETS = [
    "subprocess.Popen", "os.system", "builtins.eval", "torch.os.system", "torch.load", "torch.hub.load", "lilawbench",
    "shutil.rmtree", "lilawbench.train.sys.exit", "lilawbench.noise.nothing", "nowhere.x", "3", "null", "[a]", "''",
    "a..b", "numpy.zeros", "__main__.os.system", "{a: b}",
]  # fmt: skip
NAMES = ["../../x", "a/b", "..", ".", "''", "null", "5", "[a]", "'a b'", "${nope}", "-x", "x" * 70]
# a group's choice -> what it needs besides
NEEDED = {
    "dataset=folder": ["dataset.path=nowhere"],
    "dataset=table": ["dataset.path=numbers.csv", "dataset.label=y"],
    "dataset=embeddings": ["dataset.sources={a: none.npz,t: none.npz}", "dataset.train=[a]", "dataset.test=[t]",
                           "dataset.num_classes=3"],
    "noise=transition": ["noise.matrix=[[.9,.1],[.2,.8]]", "dataset.classes=[0,1]"],
    "noise=file": ["noise.path=nowhere.txt"],
    "noise=label_flip": ["dataset=table", "dataset.path=numbers.csv", "dataset.label=y"],
}  # fmt: skip
ENDLESS = (("train.epochs", "9999999"), ("train.compile", "true"))  # right, and long
OFFLINE = ("digits", "table", "folder", "embeddings", "gait", "pain", "clothing1m", "imagenet_lt", "food101n")
SAID = r"""
noise=null
method=null
experiment=null
launcher=null
~seed
~noise
~noise.rate
~train.lr
~train
~method._target_
~probe
train.epochs=${foo}
noise.rate=${train}
noise.rate=???
method=${x}
method=glob(*)
-m method=glob(zzz*)
-m seed=glob(*)
-m --info
-m --cfg job
noise.rate
=3
noise=
dataset=[digits,mnist]
noise={rate: 0.1}
train=3
train=[1]
train=null
dataset.path=~/x
dataset.path=a b
dataset.path=a;b
dataset.path=a[1]
dataset.path=a(1)
dataset.path='a
dataset.path=größe (1)
seed=0,1
method=ce,lilaw
-m seed=range(0,0)
-m seed=
hydra.mode=MULTI
hydra/launcher=nope
hydra.run.dir=x
hydra.sweep.dir=x
hydra.job.chdir=true
hydra.launcher._target_=subprocess.Popen
+hydra.callbacks.x._target_=subprocess.Popen
foo=1
+foo=1
++noise.bar=1
+noise._partial_=true
+noise._recursive_=x
+noise._args_=[1]
+model._convert_=x
+model.options={_target_: os.system}
+model.hidden.x=1
noise@x=none
noise/x=1
table.rows=3
-m table.rows={a: b}
-m table.rows={a: [nomethod=1]}
-m table.rows={a: [method=no]}
-m table.rows={a: [method]}
-m table.rows={a: [method=ce]} table.baselines={a: b}
-m table.metrics=[nothing] table.rows={a: [method=ce]}
debug=no
experiment=no
hydra.searchpath=[no]
--config-dir=nowhere
split.val_fraction=0.9999999
train.augment.crop_px=100000
model.hidden=[-1]
model.hidden=[100000000000]
method=dynamic_loss method.warmup_epochs=0
noise.pairs={1: 2}
noise=asymmetric noise.pairs={1: 2,a: 3}
noise=asymmetric noise.pairs={0: 0}
paths.output_dir=/dev/null/x
paths.data_dir=5
train.device=cuda:x
train.device=cpu:1
attack.eps=[0.1] attack.clip=[inf,1]
attack.eps=[-1]
attack.eps=[nan]
probe={x: 1}
+probe.x=1
+probe.x._target_=os.system
+probe.x._target_=lilawbench.probes.fit.Fit
+probe.fit._target_=lilawbench.probes.fit.Fit
"""  # a command a line


@dataclass(frozen=True)
class Command:
    """Arguments of a command, and whether it must be refused."""

    arguments: list[str]
    bad: bool


def commands() -> Iterator[Command]:
    """All of them; each once."""
    yield from _of_blocks(Config)
    targets = set()
    with composer() as compose:
        for group in NAMED:
            for name in searchpath.names(group):
                node = compose.plain([f"{group}={name}"])[group]
                if (target := node.get("_target_")) in targets or (group == "dataset" and name not in OFFLINE):
                    continue
                targets.add(target)
                yield from _of_part(group, name, node)
    for name, kinds in KINDS.items():
        for key, kind in kinds.items():
            for value, bad in _values(kind):
                if bad and "," not in value:  # an odd one may start a sweep
                    yield Command(["-m", f"launcher={name}", f"launcher.{key}={value}"], True)
        yield Command(["-m", f"launcher={name}", "launcher.typo=1"], True)
    for group, target in itertools.product(NAMED[:5], TARGETS):
        yield Command([f"{group}._target_={target}"], True)
    for key, name in itertools.product([*(f"{group}.name" for group in NAMED[:5]), "experiment_name"], NAMES):
        yield Command([f"{key}={name}"], name not in ("5",))
    for said in SAID.strip().splitlines():
        yield Command(_split(said), False)
    yield from _combinations()


def _of_blocks(schema: type, prefix: str = "") -> Iterator[Command]:
    for item in fields(schema):
        name = f"{prefix}{item.name}"
        if isinstance(item.type, type) and is_dataclass(item.type):
            yield from _of_blocks(item.type, f"{name}.")
            yield Command([f"{name}.{next(iter(fields(item.type))).name}s=1"], True)
        elif prefix or item.name in ("seed", "experiment_name"):
            for value, bad in _values(item.type):
                text_of_number = item.type is str or str in typing.get_args(item.type)
                if (name, value) in ENDLESS:
                    continue
                yield Command([f"{name}={value}"], bad and not (text_of_number and value in ("5", "true", "1.5")))


def _of_part(group: str, name: str, node: Plain) -> Iterator[Command]:
    if "_target_" not in node:
        return
    chosen = [f"{group}={name}", *NEEDED.get(f"{group}={name}", [])]
    options = _options_of(group, locate(node["_target_"]))[0]
    for key, option in options.items():
        if key in node:
            yield Command([*chosen, f"{group}.{key}s=1"], True)
            for value, bad in _values(option.kind):
                if value == "9999999" and (group == "model" or key == "hidden"):  # right, and too large
                    continue
                if bad or group != "logger" or value == "nonsense":  # a mirror goes on when its command has ended
                    yield Command([*chosen, f"{group}.{key}={value}"], bad)


def _values(kind: object) -> Iterator[tuple[str, bool]]:
    """Values to try, and whether they are bad: of none of the kinds that an annotation allows."""
    kinds = set(_simple(kind))
    for one in kinds:
        for value in BAD.get(one, ()):
            yield value, not _may_be(value, kinds)
        for value in ODD.get(one, ()):
            yield value, False


def _simple(kind: object) -> Iterator[type]:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind in (bool, int, float, str, type(None)):
        yield kind
    elif origin in (list, collections.abc.Sequence):
        yield list
    elif origin in (dict, collections.abc.Mapping) or typing.is_typeddict(kind):
        yield dict
    else:
        for part in parts:
            yield from _simple(part)


def _may_be(value: str, kinds: set[type]) -> bool:
    """Whether a value is of another kind that the annotation allows."""
    is_list, is_dict = value.startswith("["), value.startswith("{")
    if is_list or is_dict:
        return (list in kinds and is_list and value == "[1]") or (is_dict and dict in kinds)
    if value == "null":
        return type(None) in kinds
    if value in ("true",):
        return bool in kinds
    numbers = {"1": (int, float), "0": (int, float), "5": (int, float), "1.5": (float,), "3.0": (float,),
               "1e30": (float,), "99999999999999999999": (float,)}  # fmt: skip
    if value in numbers:
        return any(kind in kinds for kind in numbers[value])
    return str in kinds and value not in ("inf", "-inf", "nan", "1e300", "1,5")


def _split(said: str) -> list[str]:
    """At spaces that are outside of brackets, before a new key."""
    words = said.split(" ")
    out: list[str] = []
    for word in words:
        starts = word.startswith("-") or ("=" in word and not any(c in word.split("=")[0] for c in "{[(':"))
        inside = out and out[-1].count("{") + out[-1].count("[") > out[-1].count("}") + out[-1].count("]")
        if out and (inside or not starts):
            out[-1] += f" {word}"
        else:
            out.append(word)
    return out


def _combinations() -> Iterator[Command]:
    """Every method and loss on every kind of target."""
    data = {
        "multiclass": ["dataset=digits", "noise=symmetric"],
        "binary": ["dataset=digits", "dataset.classes=[0,1]", "noise=symmetric"],
        "multilabel": ["dataset=embeddings", "dataset.sources={a: labels.npz,t: labels.npz}", "dataset.train=[a]",
                       "dataset.test=[t]", "dataset.num_classes=3", "dataset.task=multilabel", "noise=none"],
        "regression": ["dataset=table", "dataset.path=numbers.csv", "dataset.label=y", "dataset.task=regression",
                       "noise=none"],
    }  # fmt: skip
    for method, loss, chosen in itertools.product(searchpath.names("method"), searchpath.names("loss"), data.values()):
        yield Command([*chosen, f"method={method}", f"loss={loss}"], False)
