"""What composes the configs of many runs from their overrides: as Hydra does it, in a millisecond.

Choices of groups are composed once for each set of them; values are put into a copy. A value that is a plain leaf which
nothing else refers to does not even need that: it is replaced in plain dicts.
"""

import copy
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lilawbench.config import CONF, Config, Plain, plain
from lilawbench.sweep.defaults import Unsupported, configured, merged

GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}
FALL_BACK = (Unsupported, OSError, yaml.YAMLError, OmegaConfBaseException)  # to Hydra, for the config or its message
SCALARS = (str, int, float, bool, type(None))
Overrides = Mapping[str, Override]


@contextmanager
def composer(config_dir: str | Path | None = None) -> Iterator["Composer"]:
    """A Composer, and Hydra ready for what it leaves to it.

    Args:
        config_dir: a further folder of YAML files (Hydra's --config-dir).
    """
    outer = GlobalHydra.instance().hydra  # a launcher's, if this is one of its jobs
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield Composer(config_dir)
    finally:
        GlobalHydra.instance().hydra = outer


class Composer:
    """Configs by their overrides, "method=lilaw", "seed=3": `composer(...)` as Hydra has them, or `plain`.

    Args:
        config_dir: a further folder of YAML files.
    """

    def __init__(self, config_dir: str | Path | None = None):
        self.folders = [Path(config_dir).absolute()] if config_dir else []
        self.further = [f"hydra.searchpath=[file://{folder}]" for folder in self.folders]
        self._bases: dict[tuple[bool, tuple[str, ...]], DictConfig] = {}
        self._raw: dict[tuple[str, ...], dict[str, Any]] = {}
        self._trees: dict[tuple[str, ...], Plain] = {}
        self._known: dict[str, Any] = {}  # override of a leaf -> value
        self._typed = OmegaConf.structured(Config)

    def __call__(self, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
        given = by_key(overrides)
        cfg = copy.deepcopy(self._base(given, with_hydra))
        try:
            for key, override in given.items():
                if _is_value(key):
                    OmegaConf.update(cfg, key, override.value(), merge=True)
        except OmegaConfBaseException:
            self._hydra(overrides)  # for Hydra's own words
            raise
        return cfg

    def plain(self, overrides: Sequence[str]) -> Plain:
        """The same config, resolved. Not to be changed: configs share their parts."""
        given = by_key(overrides)
        choices = tuple(override.input_line for key, override in given.items() if not _is_value(key))
        if choices not in self._raw:
            self._raw[choices] = OmegaConf.to_container(self._base(given), resolve=False)
        raw, values = self._raw[choices], {key: override for key, override in given.items() if _is_value(key)}
        words = _words(map(str, _scalars(raw))) | _words(override.input_line for override in values.values())
        try:
            leaves = {
                key: self._value(key, override)
                for key, override in values.items()
                if "" not in words and words.isdisjoint(key.split(".")) and _is_leaf(raw, key, override)
            }
        except OmegaConfBaseException:
            return plain(self(overrides))  # which says what is wrong
        rest = tuple(override.input_line for key, override in given.items() if key not in leaves)
        if rest not in self._trees:
            self._trees[rest] = plain(self(rest) if len(rest) > len(choices) else self._base(given))
        tree = self._trees[rest]
        for key, value in leaves.items():
            tree = _with(tree, key.split("."), value)
        return tree

    def swept(self, overrides: Sequence[str]) -> dict[str, Any]:
        """What an experiment sweeps by itself: its hydra.sweeper.params."""
        try:
            tree = merged(_simple(by_key(overrides)), self.folders)
        except FALL_BACK:
            return self(overrides, with_hydra=True).hydra.sweeper.get("params") or {}
        return tree.get("hydra", {}).get("sweeper", {}).get("params") or {}

    def _base(self, given: Overrides, with_hydra: bool = False) -> DictConfig:
        """The config of the choices alone. Not to be changed."""
        chosen = {key: override for key, override in given.items() if not _is_value(key)}
        lines = tuple(override.input_line for override in chosen.values())
        if (with_hydra, lines) not in self._bases:
            try:
                base = None if with_hydra else configured(_simple(chosen), self.folders)
            except FALL_BACK:
                base = None
            self._bases[with_hydra, lines] = self._hydra(lines, with_hydra) if base is None else base
        return self._bases[with_hydra, lines]

    def _hydra(self, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
        return compose("config", [*self.further, *overrides], return_hydra_config=with_hydra)

    def _value(self, key: str, override: Override) -> Any:
        """What becomes of a leaf's new value by its type; options of a group have none."""
        line = override.input_line
        if line not in self._known:
            value = override.value()
            if key.split(".")[0] not in GROUPS:
                OmegaConf.update(self._typed, key, value, merge=True)
                value = OmegaConf.select(self._typed, key)
            self._known[line] = value
        return self._known[line]


def by_key(overrides: Sequence[str]) -> dict[str, Override]:
    """Parsed overrides by key, the last of a key."""
    return {override.get_key_element(): override for override in map(_parsed, overrides)}


@functools.cache
def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


def _simple(given: Overrides) -> dict[str, str | None]:
    """Choices as group: name. Raises: Unsupported, where an override is more than that."""
    choices = {key: override.value() for key, override in given.items() if not _is_value(key)}
    if not all(key in GROUPS and isinstance(name, str | None) for key, name in choices.items()):
        raise Unsupported(str(choices))
    return choices


def _is_leaf(tree: dict[str, Any], key: str, override: Override) -> bool:
    """Whether an override replaces a single value by another that refers to nothing."""
    node: Any = tree
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return isinstance(node, SCALARS) and isinstance(override.value(), SCALARS) and "${" not in override.input_line


def _is_value(key: str) -> bool:
    """Whether an override's key names a value that the config has, rather than a choice or a change of its shape."""
    return key not in GROUPS and not key.startswith(("hydra", "+", "~")) and "@" not in key and "/" not in key


def _words(texts: Iterator[str]) -> set[str]:
    """All names in texts that refer to other values; "" among them if such a text may refer to any value.

    `${case:${noise.rate},{0.1:0.2}}` may refer to `case`, `noise` and `rate`, `${${name}}` and `${..}` to any.
    """
    words: set[str] = set()
    for text in texts:
        if "${" in text:
            words |= set(re.findall(r"[^\W\d][\w-]*", text))
            if re.search(r"\$\{[^{}:]*\$\{|\$\{\.*\}|oc\.(select|dict|create|decode|deprecated)", text):
                words.add("")
    return words


def _scalars(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _scalars(value)
    else:
        yield tree


def _with(tree: Plain, path: Sequence[str], value: Any) -> Plain:
    """A tree with another leaf; what lies beside the path is shared."""
    changed = Plain(tree)
    changed[path[0]] = value if len(path) == 1 else _with(tree[path[0]], path[1:], value)
    return changed
