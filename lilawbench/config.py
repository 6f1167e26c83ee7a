"""A composed config, and what turns its nodes into objects."""

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from lilawbench.schema import Config, Detect
from lilawbench.support import presets, searchpath
from lilawbench.support.errors import ConfigError, unknown_option
from lilawbench.support.locate import locate, nested_targets
from lilawbench.support.plain import Options, Plain, Tree, to_dict, to_plain
from lilawbench.support.searchpath import CONF
from lilawbench.support.values import spelled

NAMED = ("dataset", "noise", "model", "method", "loss")  # groups whose choices name a run
LABELS_ONLY = ("name", "convention")  # keys of a group's node that describe it and are not options of its target

LONGEST_NAME = 64
NAME_RULE = (
    f"it names folders, so it is at most {LONGEST_NAME} letters, digits, dots, hyphens and underscores, of which the "
    "first is a letter or digit"
)

Built = Any  # whatever a node's _target_ makes: its YAML says what that is


# What a row of a table sets by its column: method.num_bins=${case:${dataset.name},{cifar100:50},100}
OmegaConf.register_new_resolver("case", lambda key, values, other=None: values.get(key, other), replace=True)
# method.warmup_epochs=${share:${train.epochs},0.2} is 3 of 15: rounded up (9 decimals, since 0.1 * 30 is above 3)
OmegaConf.register_new_resolver("share", lambda whole, part: math.ceil(round(whole * part, 9)), replace=True)


def plain(cfg: DictConfig | Plain) -> Plain:
    """A config resolved; a resolved one is returned as it is.

    Raises:
        ConfigError: a part has no name, which others may refer to. OmegaConfBaseException: anything else is missing.
    """
    if isinstance(cfg, Plain):
        return cfg
    try:
        return to_plain(OmegaConf.to_container(cfg, resolve=True))
    except InterpolationKeyError:
        raw = to_plain(OmegaConf.to_container(cfg, resolve=False))
        nodes = {group: raw[group] for group in NAMED if isinstance(raw.get(group), Plain)}
        if nameless := [_nameless(group) for group, node in nodes.items() if node.get("name") is None]:
            raise ConfigError(nameless) from None
        raise


def compose(*overrides: str, config_dir: str | Path | None = None) -> DictConfig:
    """The config that the command line would compose: `run(compose("method=lilaw", "seed=3"))`.

    Args:
        overrides: as on the command line, GROUP=NAME or KEY=VALUE; hydra.searchpath=[FOLDER] may be among them.
        config_dir: a further folder of YAML files; modules in it become importable.
    Raises:
        ConfigError: a further folder is not there, or the method has no such preset.
        HydraException, OmegaConfBaseException: a choice or a key that does not exist, a value of the wrong type.
    """
    folders, others = searchpath.folders_of(config_dir, overrides)
    searchpath.use(folders)
    searchpath.warn_of_hidden(folders)
    preset = {one: name for one in others if (name := presets.asked(one)) is not None}
    others = [one for one in others if one not in preset and not presets.none(one)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        others = [*searchpath.override_of(folders), *others]
        for name in preset.values():
            chosen = hydra_compose("config", others, return_hydra_config=True).hydra.runtime.choices
            spelt = presets.spelt(name.strip("'\""), chosen.method, chosen.dataset, folders)
            others.append(f"{presets.GROUP}={spelt}")
        return hydra_compose("config", others)


def check_keys(cfg: DictConfig | Plain) -> None:
    """Rejects what Hydra's composition accepts.

    Raises:
        ConfigError: keys that +KEY=VALUE added outside the schema, and required values that are not set.
    """
    cfg = plain(cfg)
    problems = [_unset(key) for key in sorted(_missing(cfg))]
    problems += wrong_names(cfg)
    for name, valid in _valid_keys().items():
        block = cfg
        for part in name.split(".") if name else ():
            block = block.get(part, {})
        if not isinstance(block, Plain):
            problems.append(f"{name} is {spelled(block)}; it is a block of options: {name}.KEY=VALUE")
            continue
        lost = [key for key in valid if key not in block]
        problems += [_unset(f"{name}.{key}" if name else key) for key in lost]
        problems += [unknown_option(f"{name}.{key}" if name else key, "", valid) for key in block if key not in valid]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _unset(key: str) -> str:
    return f"{key} has no value: set it with {key}=..."


def wrong_names(cfg: Plain) -> list[str]:
    """What is wrong with the names of parts and of the experiment, which name folders."""
    problems = []
    for group in NAMED:
        node = cfg.get(group)
        if not isinstance(node, Plain):
            problems.append(_unset(group))
        elif node.get("name") is None:
            problems.append(_nameless(group))
        elif not _is_name(node["name"]):
            problems.append(f"{group}.name is {node['name']!r}; {NAME_RULE}")
    if not _is_name(cfg.get("experiment_name")):
        problems.append(f"experiment_name is {cfg.get('experiment_name')!r}; {NAME_RULE}")
    return problems


def _nameless(group: str) -> str:
    return f"{group} has no name: its YAML needs a line such as name: my_{group}"


def _is_name(name: Tree) -> bool:
    return isinstance(name, str) and len(name) <= LONGEST_NAME and re.fullmatch(r"\w[\w.+-]*", name) is not None


def _missing(tree: Plain, name: str = "") -> Iterator[str]:
    """Dotted keys without a value."""
    for key, value in tree.items():
        if isinstance(value, Plain):
            yield from _missing(value, f"{name}{key}.")
        elif value == MISSING:
            yield f"{name}{key}"


@functools.cache
def _valid_keys() -> dict[str, list[str]]:
    return {name: [item.name for item in fields(block)] for name, block in _blocks(Config)}


def _blocks(schema: type, name: str = "") -> Iterator[tuple[str, type]]:
    """A dataclass and those that its fields hold, under their dotted names."""
    yield name, schema
    for item in fields(schema):
        if isinstance(item.type, type) and is_dataclass(item.type):
            yield from _blocks(item.type, f"{name}.{item.name}" if name else item.name)


def probes_asked(cfg: DictConfig | Plain) -> dict[str, Plain]:
    """The nodes of the probes that a config adds, by name: those of `probe`; and where an option of detect.* is not
    the usual one, suspects."""
    cfg = plain(cfg)
    detect = {item.name: cfg.detect[item.name] for item in fields(Detect)}
    if "suspects" in cfg.probe or detect == asdict(Detect()):
        return dict(cfg.probe)
    return {**cfg.probe, "suspects": Plain(_target_="lilawbench.probes.suspects.Suspects", **detect)}


def options(node: DictConfig | Plain) -> Options:
    """The node without the keys that only name it."""
    return {key: to_dict(value) for key, value in plain(node).items() if key not in LABELS_ONLY}


def build(node: DictConfig | Plain, **given: object) -> Built:
    """The object that a group's node describes. `given` are the arguments that only the running program knows.

    Hydra's `instantiate` takes milliseconds for it; only what needs its other features is left to it.

    Raises:
        InstantiationException: the target rejects its arguments; its own error is the cause. ImportError: there is
            no such target, or a config may not run it.
    """
    kept = options(node)
    if any(_is_special(key, value) for key, value in kept.items()):
        for target in nested_targets(kept):  # Hydra would import and call anything
            locate(target)
        return instantiate(kept, **given, _convert_="all")
    target = locate(kept.pop("_target_"))
    try:
        return target(**{**kept, **given})
    except Exception as error:
        raise InstantiationException(f"Error in call to target {target.__qualname__!r}: {error!r}") from error


def _is_special(key: str | int, value: Tree) -> bool:
    """Whether an option is Hydra's own (`_partial_`), or holds an object to build."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return (isinstance(key, str) and key.startswith("_") and key != "_target_") or any(
        part == "_target_" or _is_special(part, held) for part, held in inside
    )


def bind(node: DictConfig | Plain) -> Callable[..., Built]:
    """The function that a group's node describes, with its options bound; for a class, an object built with them.

    Not Hydra's `_partial_`, which checks its target again at every call: 0.16 ms, several times a step.
    """
    kept = options(node)
    target = locate(kept.pop("_target_"))
    if inspect.isclass(target):
        made: Built = target(**kept)
        return made
    return functools.partial(target, **kept)
