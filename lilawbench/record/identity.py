"""The identity of a run: its folder, its cell (all but the seed), and its config as flat keys."""

import functools
import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from lilawbench.config import LONGEST_NAME, NAMED, Plain, plain, wrong_names
from lilawbench.record.code import code, targets
from lilawbench.record.writer import read_json, write_json
from lilawbench.support.errors import ConfigError
from lilawbench.support.plain import Tree
from lilawbench.tasks import PLAIN_LOSSES

SCHEMA_VERSION = 1
UNKNOWN_CLEAN = (
    "measures that need clean labels are left out (noise rates, memorised, recovered, weights and pruning of wrong "
    "labels), and test labels count as given"
)
# where, how and why a run is done, not what it computes
NOT_IDENTITY = ("paths", "logger", "sweep", "launcher", "table", "experiment_name")
# options that are newer than some runs: with these values a run keeps the name that it had without them
LATER: dict[str, Tree] = {
    "probe": {},
    "attack.space": "input",
    "method.fgsm.space": "input",
    "train.cuda_graphs": False,
    "train.side_stream": True,
    "train.strong_policy": "cifar10",
}
# modules that have moved: runs keep their names, and old records read as new ones
MOVED = {"lilawbench.data.": "lilawbench.datasets."}


@dataclass
class RunRecord:
    """What `train.run` returns.

    `status`: done | skipped (it was finished before) | failed | busy (another process is doing it).
    `result` is the flat content of result.json.
    """

    folder: Path
    status: str
    result: dict[str, Tree] = field(default_factory=dict)
    error: str = ""
    exit_code: int = 0


def identity(cfg: DictConfig | Plain, sources: Mapping[str, str] | None = None) -> dict[str, Tree]:
    """The resolved config less what does not change the numbers, with digests of parts outside the package.

    Args:
        sources: digests as from `code`; None: the present ones.
    """
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
    return _with_code(parts, code(parts) if sources is None else sources)


def renamed(target: str) -> str:
    """The present dotted path of a part."""
    for before, now in MOVED.items():
        if target.startswith(before):
            return target.replace(before, now, 1)
    return target


def recorded(cfg: DictConfig | Plain) -> dict[str, Tree]:
    """The resolved config for result.json: less the blocks that belong to a whole sweep."""
    parts = {key: value for key, value in plain(cfg).items() if key not in ("sweep", "launcher", "table")}
    return _with_code(parts, code(identity(cfg)))


def run_name(cfg: DictConfig | Plain, sources: Mapping[str, str] | None = None) -> str:
    """digits-symmetric0.4-mlp-lilaw-s3-1a2b3c4d; the same config and code always give the same name."""
    cfg = plain(cfg)
    return f"{_label(cfg)}-s{cfg.seed}-{_hash8(identity(cfg, sources))}"


def cell_name(cfg: DictConfig | Plain) -> str:
    """As `run_name`, without the seed: all runs of a cell share it."""
    cfg = plain(cfg)
    parts = identity(cfg)
    del parts["seed"]
    return f"{_label(cfg)}-{_hash8(parts)}"


def run_folder(cfg: DictConfig | Plain) -> Path:
    """Where a run's record is: output_dir/experiment_name/run_name. Raises: ConfigError, a name would lead elsewhere."""
    cfg = plain(cfg)
    if problems := wrong_names(cfg):
        raise ConfigError(problems)
    return Path(cfg.paths.output_dir) / cfg.experiment_name / run_name(cfg)


def write_code(folder: Path, cfg: DictConfig | Plain) -> None:
    """Writes code.json, which `changed_code` needs; nothing where all parts are the package's own."""
    if sources := code(identity(cfg)):
        write_json(folder / "code.json", sources)


def changed_code(cfg: DictConfig | Plain) -> tuple[str, list[str]] | None:
    """The latest run that differs only in the source of its parts, and the parts that have changed since."""
    cfg = plain(cfg)
    sources, folder = code(identity(cfg, {})), run_folder(cfg)
    if not sources:
        return None
    others = folder.parent.glob(f"{glob.escape(_label(cfg))}-s{cfg.seed}-*/code.json")
    for path in sorted(others, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        before = read_json(path)
        if before != sources and run_name(cfg, before) == path.parent.name:
            groups = [group for group in sources if sources[group] != before.get(group)]
            return path.parent.name, [target for group in groups for target in targets(cfg[group])]
    return None


def flatten(tree: dict[str, Tree], prefix: str) -> dict[str, Tree]:
    """Nested mappings to dotted keys; lists stay whole."""
    flat: dict[str, Tree] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}"
        flat.update(flatten(value, name) if isinstance(value, dict) and value else {name: value})
    return flat


def _without(tree: dict[str, Tree], path: list[str]) -> dict[str, Tree]:
    """A copy less one leaf; branches beside the path are shared."""
    key, *rest = path
    return {**tree, key: _without(tree[key], rest)} if rest else {name: tree[name] for name in tree if name != key}


def _with_code(parts: dict[str, Tree], sources: Mapping[str, str]) -> dict[str, Tree]:
    """A copy with digests of code in their groups."""
    return {**parts, **{group: {**parts[group], "_code_": digest} for group, digest in sources.items()}}


def _label(cfg: Plain) -> str:
    dataset, noise, model, method, loss = (str(cfg[group].get("name")) for group in NAMED)
    if loss not in (*PLAIN_LOSSES, method):
        method += f"+{loss}"
    rate = str(cfg.noise.get("rate", ""))
    if "/" in rate or len(rate) > LONGEST_NAME:
        raise ConfigError([f"noise.rate is {rate!r}; it names the run's folder: at most {LONGEST_NAME} characters, no /"])
    return f"{dataset}-{noise}{rate}-{model}-{method}"


def _hash8(tree: dict[str, Tree]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]
