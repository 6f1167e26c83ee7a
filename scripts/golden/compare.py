"""Compares two records of a run, to the last bit."""

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

# keys of result.json and of metrics that depend on time, place or version
LEFT_OUT = ("*seconds*", "*memory*", "versions.*", "git.*", "command", "run", "cell", "config.paths.output_dir")
# and what the other checkout may not have yet: names of rows and classes, digests of data, options
LEFT_OUT += ("ids", "test_ids", "class_names*", "config.*._data_", "config.probe*", "config.train.strong_policy")
LEFT_OUT += ("config.train.decay_from_epoch", "config.train.normalise", "config.model.rename")
LEFT_OUT += ("idle_*", "trust_*", "elr_target_*", "config.detect.*", "suspects_*")
LEFT_OUT += (
    "cost_ce",
    "told",
    "given",
    "split",
    "test_target",
    "config.keep.*",
    "positive_class",
    "*.per_class*",
    "*.confusion*",
)
LEFT_OUT += ("*.test_precision.*", "*.test_recall.*", "*.test_f1.*")
LEFT_OUT += tuple(f"config.dataset.{name}*" for name in ("path", "id", "clean", "missing", "white", "background"))
LEFT_OUT += tuple(f"config.dataset.{name}" for name in ("decimal", "encoding", "drop_unlabelled"))
LEFT_OUT += ("*train_average_precision", "*val_average_precision", "*test_average_precision")
LEFT_OUT += ("*.test_ece*", "*.test_nll*", "*.test_brier*", "*_calibrated", "*.temperature*", "*.reliability*")
LEFT_OUT += ("last*.train_*", "best_val.train_*", "oracle_best.train_*")  # they stand in metrics.jsonl, too
# keys that were renamed on purpose, old: new, with everything below them; options as "config.train.lr". The other
# checkout, which is the older one, gets the option by its old name
RENAMED: dict[str, str] = {}
# keys of a checkpoint whose tensors are compared, in any order and by any name; the first that exists
STATE = {"weights of the networks": ("model",), "state of the method": ("method",)}


def differences(one: Path, other: Path) -> Iterator[str]:
    """Yields the place, key and both values of each difference between two run folders."""
    left, right = _record(one), _record(other)
    for place in dict.fromkeys([*left, *right]):
        mine, theirs = left.get(place, {}), right.get(place, {})
        for key in dict.fromkeys([*mine, *theirs]):
            values = [side.get(key, "(missing)") for side in (mine, theirs)]
            if values[0] != values[1]:
                yield f"{place}, {key}: {values[0]} / {values[1]}"


def in_old_words(option: str) -> str:
    """KEY=VALUE with the key's old name."""
    key, _, value = option.partition("=")
    for old, new in RENAMED.items():
        if f"config.{key}" == new or f"config.{key}".startswith(f"{new}."):
            return f"{old}{f'config.{key}'[len(new) :]}={value}".removeprefix("config.")
    return option


def _record(folder: Path) -> dict[str, dict[str, str]]:
    """Place -> key -> value, as text that keeps every bit of a float."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    with np.load(folder / "labels.npz", allow_pickle=False) as file:
        labels = {
            name: _of_array(file[name]) for name in file.files if not any(fnmatch(name, left) for left in LEFT_OUT)
        }
    saved = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    return {
        "labels.npz": labels,
        **{f"metrics.jsonl line {i}": _flat(row) for i, row in enumerate(rows, 1)},
        "result.json": _flat(json.loads((folder / "result.json").read_text())),
        "checkpoint.pt": {
            what: _of_state(next(saved[key] for key in keys if key in saved)) for what, keys in STATE.items()
        },
    }


def _flat(tree: Any, key: str = "") -> dict[str, str]:
    """Leaves by dotted key, without those that are left out."""
    key = _renamed(key)
    if any(fnmatch(key, pattern) for pattern in LEFT_OUT):
        return {}
    if isinstance(tree, dict) and tree:
        inside = [(f"{key}.{name}" if key else name, value) for name, value in tree.items()]
    elif isinstance(tree, list) and tree:
        inside = [(f"{key}[{i}]", value) for i, value in enumerate(tree)]
    else:
        if key.endswith("_target_"):  # classes may move to another file
            tree = tree.rpartition(".")[2]
        return {key: json.dumps(tree)}
    return {name: value for part in inside for name, value in _flat(part[1], part[0]).items()}


def _renamed(key: str) -> str:
    for old, new in RENAMED.items():
        if key == old or key.startswith((f"{old}.", f"{old}[")):
            return new + key[len(old) :]
    return key


def _of_array(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)} {hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:12]}"


def _of_state(tree: Any) -> str:
    """The number of tensors and their hash."""
    found = sorted(_of_array(tensor.numpy()) for tensor in _tensors(tree))
    return f"{len(found)} tensors {hashlib.sha256(' '.join(found).encode()).hexdigest()}"


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict | list | tuple):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(part)
