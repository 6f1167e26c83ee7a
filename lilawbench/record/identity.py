"""The identity of a run: its folder, its cell (all but the seed), and its config as flat keys."""

import functools
import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml
from omegaconf import DictConfig

from lilawbench.config import LONGEST_NAME, NAMED, Plain, plain, wrong_names
from lilawbench.models.preprocessing import follows_weights
from lilawbench.record.code import TYPED, code, targets
from lilawbench.record.data import Named, data, named, without_places
from lilawbench.record.writer import read_json, write_json
from lilawbench.support import searchpath
from lilawbench.support.errors import ConfigError, DataError
from lilawbench.support.plain import Tree
from lilawbench.tasks import PLAIN_LOSSES

SCHEMA_VERSION = 1
UNKNOWN_CLEAN = (
    "measures that need clean labels are left out (noise rates, memorised, recovered, weights and pruning of wrong "
    "labels), and test labels count as given"
)
# where, how and why a run is done, not what it computes
NOT_IDENTITY = ("paths", "logger", "sweep", "launcher", "table", "experiment_name", "keep")
# options that are newer than some runs: with these values a run keeps the name that it had without them
LATER: dict[str, Tree] = {
    "probe": {},
    "detect": {"scores": None, "score": "loss", "epochs": None, "folds": 0, "orientation": "mislabelled"},
    "attack.space": "input",
    "method.fgsm.space": "input",
    "train.cuda_graphs": False,
    "train.side_stream": True,
    "train.strong_policy": "cifar10",
    "train.decay_from_epoch": 0,
    "train.normalise": "data",
    "model.rename": None,
    "dataset.white": None,
    "dataset.background": None,
    "dataset.clean": "target",
}
# options of parts that the YAMLs wrote as 1.0 when names began; in all others 1.0 counts as 1
FLOATS = {
    *("noise.rate", "noise.concentration", "noise.scale", "model.dropout", "dataset.resident_gb"),
    *("loss.beta", "loss.log_zero", "loss.gamma", "loss.lam"),
    *("method.alpha", "method.beta", "method.delta", "method.gamma", "method.primary_fraction", "method.fgsm.eps"),
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


class Outside(NamedTuple):
    """What a run depends on and its config only names, as digests by group."""

    code: Mapping[str, str]  # of parts outside the package
    data: Mapping[str, str]  # of the files that options name


def identity(cfg: DictConfig | Plain, outside: Outside | None = None) -> dict[str, Tree]:
    """The resolved config less what does not change the numbers, with digests of outside code and data.

    Equal numbers are equal in it (0, 0.0), and so are paths of equal data.

    Args:
        outside: None: as it is now.
    Raises:
        DataError: a file that an option names cannot be read.
    """
    cfg = plain(cfg)
    parts = {key: value for key, value in cfg.items() if key not in NOT_IDENTITY}
    if "normalise" in parts["train"]:
        parts["train"] = {**parts["train"], "normalise": "weights" if follows_weights(cfg) else "data"}
    for name, before in LATER.items():
        *path, key = name.split(".")
        node = functools.reduce(_inside, path, parts)
        if node.get(key) == before:
            parts = _without(parts, [*path, key])
    target = str(parts["dataset"].get("_target_", ""))
    for before, now in MOVED.items():
        if target.startswith(now):
            parts["dataset"] = {**parts["dataset"], "_target_": target.replace(now, before, 1)}
    code_of, data_of = outside or Outside(code(parts), data(cfg))
    files = named(cfg) if data_of else {}
    for group in data_of.keys() & files.keys():
        parts[group] = without_places(parts[group], files[group])
    parts |= {group: _spelt(node, group) for group, node in parts.items() if group not in TYPED}
    return _with(parts, Outside(code_of, data_of))


def _inside(tree: dict[str, Tree], key: str) -> dict[str, Tree]:
    """The block below a key; empty, there is none."""
    block = tree.get(key)
    return block if isinstance(block, dict) else {}


def renamed(target: str) -> str:
    """The present dotted path of a part."""
    for before, now in MOVED.items():
        if target.startswith(before):
            return target.replace(before, now, 1)
    return target


def recorded(cfg: DictConfig | Plain) -> dict[str, Tree]:
    """The resolved config for result.json: less the blocks that belong to a whole sweep."""
    parts = {key: value for key, value in plain(cfg).items() if key not in ("sweep", "launcher", "table")}
    return _with(parts, outside(cfg))


def outside(cfg: DictConfig | Plain) -> Outside:
    """As it is now."""
    cfg = plain(cfg)
    return Outside(code({key: value for key, value in cfg.items() if key not in NOT_IDENTITY}), data(cfg))


def run_name(cfg: DictConfig | Plain, outside: Outside | None = None) -> str:
    """digits-symmetric0.4-mlp-lilaw-s3-1a2b3c4d; the same config, code and data always give the same name."""
    cfg = plain(cfg)
    return f"{_label(cfg)}-s{cfg.seed}-{_hash8(identity(cfg, outside))}"


def cell_name(cfg: DictConfig | Plain) -> str:
    """As `run_name`, without the seed: all runs of a cell share it."""
    cfg = plain(cfg)
    parts = identity(cfg)
    del parts["seed"]
    return f"{_label(cfg)}-{_hash8(parts)}"


def run_folder(cfg: DictConfig | Plain) -> Path:
    """Where a run's record is: output_dir/experiment_name/run_name. Raises: ConfigError, a name leads elsewhere."""
    cfg = plain(cfg)
    if problems := wrong_names(cfg):
        raise ConfigError(problems)
    return Path(cfg.paths.output_dir) / cfg.experiment_name / run_name(cfg)


def write_outside(folder: Path, cfg: DictConfig | Plain) -> None:
    """Writes code.json and data.json, which `changed` needs; nothing where there is nothing outside."""
    for name, digests in outside(cfg)._asdict().items():
        if digests:
            write_json(folder / f"{name}.json", digests)


def changed(cfg: DictConfig | Plain) -> tuple[str, list[str]] | None:
    """The latest run that differs only in outside code or data, and what has changed since: parts and paths."""
    cfg = plain(cfg)
    now, folder = outside(cfg), run_folder(cfg)
    if not (now.code or now.data):
        return None
    others = folder.parent.glob(f"{glob.escape(_label(cfg))}-s{cfg.seed}-*")
    for other in sorted(others, key=lambda path: path.lstat().st_mtime_ns, reverse=True):
        if parts := changed_since(cfg, other):
            return other.name, parts
    return None


def changed_since(cfg: DictConfig | Plain, folder: Path) -> list[str]:
    """The parts and paths of a config that are not what they were when the run in a folder was made of it.

    Empty where nothing has changed, where the run is of another config, and where it was made of other paths.
    """
    cfg = plain(cfg)
    now, kept = outside(cfg), Outside(*(_kept(folder / f"{name}.json") for name in Outside._fields))
    if kept == now or run_name(cfg, kept) != folder.name:
        return []
    found: list[str] = []
    paths, before = named(cfg), _kept_config(folder)
    for group, digest in kept.code.items():
        found += targets(cfg[group]) if now.code.get(group) != digest else []
    for group, digest in kept.data.items():
        if now.data.get(group) == digest:
            continue
        files = paths.get(group, [])
        if group in before and any(_at(before[group], file) != _at(cfg[group], file) for file in files):
            return []
        found += [file.path for file in files] or [f"what {group} reads"]
    return found


def _at(node: Tree, file: Named) -> Tree:
    """The value of the option that names a file."""
    for key in file.option.split("."):
        node = node.get(key) if isinstance(node, dict) else node[int(key)] if isinstance(node, list) else None
    return node


def _kept_config(folder: Path) -> dict[str, Tree]:
    """The config of another run; what cannot be read costs only a message."""
    try:
        tree = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _kept(path: Path) -> dict[str, str]:
    """Digests in a file of another run; a damaged file costs only a message."""
    try:
        return read_json(path) if path.exists() else {}
    except (DataError, OSError):
        return {}


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


def _with(parts: dict[str, Tree], outside: Outside) -> dict[str, Tree]:
    """A copy with digests in their groups."""
    for key, digests in (("_code_", outside.code), ("_data_", outside.data)):
        parts = {**parts, **{group: {**parts[group], key: digest} for group, digest in digests.items()}}
    return parts


def _spelt(tree: Tree, name: str) -> Tree:
    """The same with each number in one spelling, 0.0 or 0."""
    if isinstance(tree, dict):
        return {key: _spelt(value, f"{name}.{key}") for key, value in tree.items()}
    if isinstance(tree, list):
        return [_spelt(value, "") for value in tree]
    if isinstance(tree, bool) or not isinstance(tree, int | float) or abs(tree) > 2**53 or tree != tree // 1:
        return tree
    return float(tree) + 0.0 if name in FLOATS else int(tree)


def model_name(choice: str, architecture: Tree) -> str:
    """What a model is called: its choice in conf/model, or its architecture where that is not the choice's own."""
    usual = searchpath.written("model", choice, "architecture")
    if architecture is None or usual in (None, architecture):
        return choice
    return str(architecture).replace("/", "_")


def _label(cfg: Plain) -> str:
    dataset, noise, model, method, loss = (str(cfg[group].get("name")) for group in NAMED)
    model = model_name(model, cfg.model.get("architecture"))
    if loss not in (*PLAIN_LOSSES, method):
        method += f"+{loss}"
    rate = str(_spelt(cfg.noise.get("rate", ""), "noise.rate"))
    if "/" in rate or len(rate) > LONGEST_NAME:
        raise ConfigError(
            [f"noise.rate is {rate!r}; it names the run's folder: at most {LONGEST_NAME} characters, no /"]
        )
    return f"{dataset}-{noise}{rate}-{model}-{method}"


def _hash8(tree: dict[str, Tree]) -> str:
    try:
        text = json.dumps(tree, sort_keys=True)
    except TypeError:  # keys of one mapping are numbers and texts, as in noise.pairs
        text = json.dumps(json.loads(json.dumps(tree)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
