"""Names of methods and settings in all tables and figures, taken from the configs of the runs."""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lilawbench.record.data import OPTIONS
from lilawbench.record.identity import NOT_IDENTITY, model_name
from lilawbench.tasks import PLAIN_LOSSES, TASKS

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# Leaves of the config that define the method; all others, apart from book-keeping, define the setting.
METHOD = ("config.method", "config.loss")
IN_NAMES = [f"config.{leaf}" for leaf in ("dataset.name", "noise.name", "noise.rate", "model.name")]
IN_NAMES += ["config.method.name", "config.loss.name"]
IN_LABEL = ("config.loss.name", "config.loss._target_")  # a plain loss follows from the task
BOOKKEEPING = ("config.seed", *(f"config.{group}" for group in NOT_IDENTITY))


def with_names(runs: "DataFrame", picked: Sequence[str] = ()) -> "DataFrame":
    """Adds three text columns, the names that all tables and figures use.

    method: "ce", "lilaw", "lilaw + focal" (a loss that is not the task's plain one), and, where several
        configs would share that name, the leaves in which they differ: "lilaw (warmup_epochs=2)".
    scene: the setting in full: "digits, symmetric 0.4, mlp".
    setting: only what differs between the settings of `runs`: "symmetric 0.4"; the same as scene if there is one
        setting.

    Args:
        picked: keys, such as "train.lr", of which each method and setting has its winner. They name nothing but the
            method itself: winners with different values stand side by side and are compared.
    """
    if runs.empty:
        return runs.assign(method="", scene="", setting="")
    leaves = dict.fromkeys([*filter(tells_apart, runs), *IN_NAMES])
    groups = tuple(f"config.{key}" for key in picked)
    telling = {leaf for leaf in runs if leaf == "config.method.name" or not below(leaf, groups)}
    texts = {leaf: _texts(runs[leaf].tolist() if leaf in telling else [None] * len(runs)) for leaf in leaves}
    for leaf, values in texts.items():
        digests = texts.get(f"config.{leaf.split('.')[1]}._data_")
        if digests and OPTIONS.fullmatch(leaf.rpartition(".")[2]):
            texts[leaf] = _as_first(values, digests)
    architectures = texts.get("config.model.architecture", [None] * len(runs))
    models = [name and model_name(name, own) for name, own in zip(texts["config.model.name"], architectures)]
    texts["config.model.name"] = models
    differing = [leaf for leaf, values in texts.items() if leaf not in IN_LABEL and len(set(values)) > 1]

    labels = list(map(_method_label, texts["config.method.name"], texts["config.loss.name"]))
    extras = _differences(labels, {leaf: texts[leaf] for leaf in differing if below(leaf, METHOD)})
    methods = [f"{label} ({', '.join(extra)})" if extra else label for label, extra in zip(labels, extras)]

    parts = list(zip(texts["config.dataset.name"], _noises(texts), [name or "" for name in texts["config.model.name"]]))
    whole = [", ".join(filter(None, part)) for part in parts]
    extras = _differences(whole, {leaf: texts[leaf] for leaf in differing if not below(leaf, METHOD)})
    scenes = [", ".join([name, *extra]) for name, extra in zip(whole, extras)]
    varies = [len(set(values)) > 1 for values in zip(*parts)]
    short = [", ".join([p for p, v in zip(part, varies) if v and p] + extra) for part, extra in zip(parts, extras)]
    settings = [s or scene for s, scene in zip(short, scenes)] if len(set(scenes)) > 1 else scenes
    return runs.assign(method=methods, scene=scenes, setting=settings)


def tasks(runs: "DataFrame") -> "Series":
    """The task of each run; records from before there were several tasks are multiclass."""
    import pandas as pd

    return runs["task"].fillna("multiclass") if "task" in runs else pd.Series("multiclass", index=runs.index)


def measures(runs: "DataFrame") -> list[str]:
    """The main metrics of the runs' tasks: "accuracy", "mAP", "rmse", those that occur."""
    present = set(tasks(runs))
    return list(dict.fromkeys(task.measure for task in TASKS.values() if task.name in present))


def text(value: object) -> str | None:
    """One text per value: 1 and 1.0 are "1", True is "true", a list is compact JSON; missing or null is None."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def natural(label: str) -> list[float | str]:
    """Sorts "rate 10" after "rate 2": numbers inside a label count as numbers."""
    return [float(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+\.?\d*)", label))]


def _texts(column: Sequence[object]) -> list[str | None]:
    """`text` of every value, computed once per distinct value, of which a column of many runs has few."""
    known: dict[object, str | None] = {}
    texts = []
    for value in column:
        key = (type(value), value) if isinstance(value, str | int | float) else repr(value)
        if key not in known:
            known[key] = text(value)
        texts.append(known[key])
    return texts


def _as_first(paths: Sequence[str | None], digests: Sequence[str | None]) -> list[str | None]:
    """Paths of equal data, all as the first run has them: the same data elsewhere are no other setting."""
    first: dict[str, str] = {}
    return [first.setdefault(digest, path) if digest and path else path for path, digest in zip(paths, digests)]


def _method_label(method: str | None, loss: str | None) -> str:
    return f"{method}" if loss in (None, *PLAIN_LOSSES, method) else f"{method} + {loss}"


def _noises(texts: dict[str, list[str | None]]) -> list[str]:
    """ "symmetric 0.4", "no noise", or the bare name of a noise without a rate."""
    return [
        "no noise" if name == "none" else " ".join(filter(None, (name, rate)))
        for name, rate in zip(texts["config.noise.name"], texts["config.noise.rate"])
    ]


def _differences(labels: list[str], leaves: dict[str, list[str | None]]) -> list[list[str]]:
    """For every row the "leaf=value" in which rows with its name differ; empty where they do not."""
    groups: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        groups.setdefault(label, []).append(row)
    extras: list[list[str]] = [[] for _ in labels]
    for rows in groups.values():
        for leaf, values in leaves.items():
            if len({values[row] for row in rows}) > 1:
                for row in rows:
                    if values[row] is not None:
                        extras[row].append(f"{_short(leaf)}={values[row]}")
    return extras


def tells_apart(column: str) -> bool:
    """Whether a column is a leaf of the config that distinguishes runs."""
    return column.startswith("config.") and not below(column, BOOKKEEPING)


def _short(leaf: str) -> str:
    return leaf.removeprefix("config.").removeprefix("method.")


def below(leaf: str, groups: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of these, or below one."""
    return any(leaf == group or leaf.startswith(group + ".") for group in groups)
