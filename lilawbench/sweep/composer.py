"""What composes the configs of many runs from their overrides, as Hydra does it and hardly slower than they are read.

Choices of groups go through Hydra, once for each set of them; values are put into a copy. A value that is a plain leaf
which nothing else refers to does not even need that: it is replaced in plain dicts.
"""

import copy
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lilawbench.config import CONF, Plain, plain

GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}
SCALARS = (str, int, float, bool, type(None))
Overrides = Mapping[str, Override]


@contextmanager
def composer(config_dir: str | Path | None = None) -> Iterator["Composer"]:
    """A Composer with its files read once.

    Args:
        config_dir: a further folder of YAML files (Hydra's --config-dir).
    """
    outer = GlobalHydra.instance().hydra  # a launcher's, if this is one of its jobs
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            loader.repository = _Remembered(loader.repository)
            yield Composer([f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else [])
    finally:
        GlobalHydra.instance().hydra = outer


class _Remembered(CachingConfigRepository):
    """Files that stay read from one composition to the next: Hydra copies its repository for each."""

    def __deepcopy__(self, memo: dict) -> "_Remembered":
        return self


class Composer:
    """Configs by their overrides, "method=lilaw", "seed=3": `composer(...)` as Hydra has them, or `plain`.

    Args:
        further: overrides that all have.
    """

    def __init__(self, further: Sequence[str]):
        self.further = list(further)
        self._bases: dict[tuple[bool, tuple[str, ...]], DictConfig] = {}
        self._leaves: dict[tuple[str, ...], _Leaves] = {}
        self._trees: dict[tuple[str, ...], Plain] = {}

    def __call__(self, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
        given = by_key(overrides)
        cfg = copy.deepcopy(self._base(_choices(given), with_hydra))
        try:
            for key, override in given.items():
                if _is_value(key):
                    OmegaConf.update(cfg, key, override.value(), merge=True)
        except OmegaConfBaseException:
            compose("config", [*self.further, *overrides])  # for Hydra's own words
            raise
        return cfg

    def plain(self, overrides: Sequence[str]) -> Plain:
        """The same config, resolved. Not to be changed: configs share their parts."""
        given = by_key(overrides)
        choices = _choices(given)
        if choices not in self._leaves:
            self._leaves[choices] = _Leaves(self._base(choices))
        leaves = self._leaves[choices]
        try:
            replaced = leaves.replaced({key: o for key, o in given.items() if _is_value(key)})
        except OmegaConfBaseException:
            return plain(self(overrides))  # which says what is wrong
        rest = tuple(o.input_line for key, o in given.items() if key not in replaced)
        if rest not in self._trees:
            self._trees[rest] = plain(self(rest))
        tree = self._trees[rest]
        for key, value in replaced.items():
            tree = _with(tree, key.split("."), value)
        return tree

    def _base(self, choices: tuple[str, ...], with_hydra: bool = False) -> DictConfig:
        if (with_hydra, choices) not in self._bases:
            base = compose("config", [*self.further, *choices], return_hydra_config=with_hydra)
            self._bases[with_hydra, choices] = base
        return self._bases[with_hydra, choices]


class _Leaves:
    """Which values can be replaced in a config of certain choices, and what becomes of them by its types."""

    def __init__(self, base: DictConfig):
        self.base = copy.deepcopy(base)
        self.raw = OmegaConf.to_container(base, resolve=False)
        self.words = _words(map(str, _scalars(self.raw)))
        self.known: dict[str, Any] = {}  # override -> value

    def replaced(self, values: Overrides) -> dict[str, Any]:
        """The overrides that only replace a leaf, as key: value.

        Raises:
            OmegaConfBaseException: a key that is not there, or a value of another type.
        """
        words = self.words | _words(override.input_line for override in values.values())
        return {
            key: self._value(key, override)
            for key, override in values.items()
            if "" not in words and words.isdisjoint(key.split(".")) and self._is_leaf(key, override)
        }

    def _is_leaf(self, key: str, override: Override) -> bool:
        node: Any = self.raw
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return isinstance(node, SCALARS) and isinstance(override.value(), SCALARS) and "${" not in override.input_line

    def _value(self, key: str, override: Override) -> Any:
        line = override.input_line
        if line not in self.known:
            OmegaConf.update(self.base, key, override.value(), merge=True)
            self.known[line] = OmegaConf.select(self.base, key)
        return self.known[line]


def by_key(overrides: Sequence[str]) -> dict[str, Override]:
    """Parsed overrides by key, the last of a key."""
    return {override.get_key_element(): override for override in map(_parsed, overrides)}


@functools.cache
def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


def _choices(given: Overrides) -> tuple[str, ...]:
    return tuple(override.input_line for key, override in given.items() if not _is_value(key))


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
