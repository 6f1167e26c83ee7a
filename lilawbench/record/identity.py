"""The identity of a run: its folder, its cell (everything but the seed) and its flat result."""

import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lilawbench.config import Plain, plain
from lilawbench.tasks import PLAIN_LOSSES

SCHEMA_VERSION = 1
UNKNOWN_CLEAN = (
    "what needs clean labels is left out (noise rates, memorised, recovered, weights and pruning of wrong labels), "
    "and test labels count as they are given"
)
# where, how and what for a run is made, not what it computes
NOT_IDENTITY = ("paths", "logger", "sweep", "launcher", "table", "experiment_name")
# options that came later: a run that leaves them as they were before keeps its name
LATER: dict[str, Any] = {
    "probe": {},
    "attack.space": "input",
    "method.fgsm.space": "input",
    "train.cuda_graphs": False,
    "train.side_stream": True,
    "train.strong_policy": "cifar10",
}
# modules that have moved: runs keep the names that they had before, and old records read as new ones
MOVED = {"lilawbench.data.": "lilawbench.datasets."}


@dataclass
class RunRecord:
    """What `train.run` returns.

    `status`: done | skipped (it was finished before) | failed | busy (another process is doing it).
    `result` is the flat content of result.json.
    """

    folder: Path
    status: str
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    exit_code: int = 0


def identity(cfg: DictConfig | Plain) -> dict[str, Any]:
    """The resolved config less what does not change the numbers."""
    parts = {key: value for key, value in plain(cfg).items() if key not in NOT_IDENTITY}
    for name, before in LATER.items():
        *path, key = name.split(".")
        node = functools.reduce(lambda tree, step: tree.get(step) or {}, path, parts)
        if node.get(key) == before:
            parts = _without(parts, [*path, key])
    target = parts["dataset"].get("_target_", "")
    for before, now in MOVED.items():
        if target.startswith(now):
            parts["dataset"] = {**parts["dataset"], "_target_": target.replace(now, before, 1)}
    return parts


def renamed(target: str) -> str:
    """The dotted path of a part, as it is today."""
    for before, now in MOVED.items():
        if target.startswith(before):
            return target.replace(before, now, 1)
    return target


def recorded(cfg: DictConfig | Plain) -> dict[str, Any]:
    """The resolved config as result.json has it: less the blocks that are a whole sweep's."""
    return {key: value for key, value in plain(cfg).items() if key not in ("sweep", "launcher", "table")}


def run_name(cfg: DictConfig | Plain) -> str:
    """digits-symmetric0.4-mlp-lilaw-s3-1a2b3c4d; the same config always gives the same name."""
    cfg = plain(cfg)
    return f"{_label(cfg)}-s{cfg.seed}-{_hash8(identity(cfg))}"


def cell_name(cfg: DictConfig | Plain) -> str:
    """As `run_name` without the seed: all seeds of one cell share it."""
    cfg = plain(cfg)
    parts = identity(cfg)
    del parts["seed"]
    return f"{_label(cfg)}-{_hash8(parts)}"


def run_folder(cfg: DictConfig | Plain) -> Path:
    cfg = plain(cfg)
    return Path(cfg.paths.output_dir) / cfg.experiment_name / run_name(cfg)


def flatten(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Nested mappings to dotted keys; lists stay whole."""
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}"
        flat.update(flatten(value, name) if isinstance(value, dict) and value else {name: value})
    return flat


def _without(tree: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """A copy less one leaf; what lies beside the path is shared."""
    key, *rest = path
    return {**tree, key: _without(tree[key], rest)} if rest else {name: tree[name] for name in tree if name != key}


def _label(cfg: Plain) -> str:
    noise = f"{cfg.noise.name}{cfg.noise.get('rate', '')}"
    method = cfg.method.name
    if cfg.loss.name not in (*PLAIN_LOSSES, method):
        method += f"+{cfg.loss.name}"
    return f"{cfg.dataset.name}-{noise}-{cfg.model.name}-{method}"


def _hash8(tree: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]
