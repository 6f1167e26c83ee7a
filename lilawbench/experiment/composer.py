"""Composes the configs of many runs from their overrides as Hydra does, in a millisecond each.

Each set of choices is composed once (defaults.py); values are then put into plain dicts that share what they have in
common. Anything else is left to Hydra.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lilawbench.config import Plain, plain, to_plain
from lilawbench.experiment.defaults import Unsupported, chosen, merged, raw, resolved
from lilawbench.experiment.overrides import GROUPS, check_value, line, parsed
from lilawbench.experiment.products import expanded
from lilawbench.schema import Config
from lilawbench.support import presets, searchpath
from lilawbench.support.errors import ConfigError
from lilawbench.support.plain import Options, Tree
from lilawbench.support.searchpath import CONF

FALL_BACK = (Unsupported, OSError, yaml.YAMLError, OmegaConfBaseException)  # Hydra composes, or says what is wrong
SCALARS = (str, int, float, bool, type(None))
Overrides = Mapping[str, Override]


@contextmanager
def composer(folders: Sequence[Path] = ()) -> Iterator["Composer"]:
    """A Composer, with Hydra initialised for what is left to it.

    Args:
        folders: the user's folders of YAML files (see searchpath.folders_of); modules in them become importable.
    """
    searchpath.use(folders)
    outer = GlobalHydra.instance().hydra  # the launcher's, if this is one of its jobs
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield Composer(folders)
    finally:
        GlobalHydra.instance().hydra = outer


class Composer:
    """Composes configs from overrides such as "method=lilaw", "seed=3": a call as Hydra does, `plain` resolved.

    Args:
        folders: the user's folders of YAML files, absolute.
    """

    def __init__(self, folders: Sequence[Path] = ()):
        self.folders = list(folders)
        self._bases: dict[tuple[bool, tuple[str, ...]], DictConfig] = {}
        self._trees: dict[tuple[tuple[str, str | None], ...], Plain] = {}
        self._resolved: dict[str, Plain] = {}
        self._typed_values: dict[str, Any] = {}  # by override
        self._typed = OmegaConf.structured(Config)

    def __call__(self, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
        given = self.spelt(by_key(overrides))
        base = self._base(given, with_hydra)
        self._refuse(to_container(base), given)
        cfg = copy.deepcopy(base)
        try:
            for key, override in given.items():
                if _is_value(key):
                    OmegaConf.update(cfg, key, override.value(), merge=True)
        except OmegaConfBaseException:
            self._hydra([line(override) for override in given.values()])  # for Hydra's own message
            raise
        return cfg

    def plain(self, overrides: Sequence[str]) -> Plain:
        """The same config, resolved, its table expanded. Do not change it: configs share their parts."""
        given = self.spelt(by_key(overrides))
        try:
            tree = self._tree(given)
            self._refuse(tree, given)
            for key, override in given.items():
                if _is_value(key):
                    tree = _with(tree, key.split("."), self._leaf(tree, key, override))
            return resolved(tree, self._resolved)
        except FALL_BACK:
            cfg = plain(self(overrides))  # its error says what is wrong
            return Plain(cfg | {"table": expanded(cfg.table)})

    def swept(self, overrides: Sequence[str]) -> Options:
        """What an experiment sweeps: its hydra.sweeper.params."""
        try:
            tree = merged(_simple(self.spelt(by_key(overrides))), self.folders)
        except FALL_BACK:
            return self(overrides, with_hydra=True).hydra.sweeper.get("params") or {}
        return tree.get("hydra", {}).get("sweeper", {}).get("params") or {}

    def spelt(self, given: Overrides) -> Overrides:
        """The same with a preset as METHOD/NAME. Raises: ConfigError, the method has no such preset."""
        preset = given.get(presets.GROUP)
        if preset is None or preset.is_delete() or (name := preset.value()) is None:
            return given
        found = presets.spelt(name, self._choice("method", given), self._choice("dataset", given), self.folders)
        return {**given, presets.GROUP: parsed(f"{presets.GROUP}={found}")}

    def _choice(self, group: str, given: Overrides) -> str:
        """What is chosen of a group, here or by an experiment."""
        choices = {key: one for key, one in given.items() if not _is_value(key) and key != presets.GROUP}
        try:
            return chosen(group, _simple(choices), self.folders)
        except FALL_BACK:
            name: str = self._base(choices, with_hydra=True).hydra.runtime.choices[group]
            return name

    def _tree(self, given: Overrides) -> Plain:
        """The config of the choices alone, unresolved."""
        choices = _simple(given)
        key = tuple(choices.items())
        if key not in self._trees:
            tree = raw(choices, self.folders)
            self._trees[key] = Plain(tree | {"table": expanded(tree.table)})
        return self._trees[key]

    def _base(self, given: Overrides, with_hydra: bool) -> DictConfig:
        """The same as Hydra composes it."""
        choices = tuple(line(override) for key, override in given.items() if not _is_value(key))
        if (with_hydra, choices) not in self._bases:
            self._bases[with_hydra, choices] = self._hydra(choices, with_hydra)
        return self._bases[with_hydra, choices]

    def _hydra(self, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
        return compose("config", [*searchpath.override_of(self.folders), *overrides], return_hydra_config=with_hydra)

    def _refuse(self, tree: Options, given: Overrides) -> None:
        """Raises: ConfigError, with every override whose key or value the config of these choices cannot take."""
        found = (check_value(tree, override) for key, override in given.items() if _is_value(key))
        if problems := [problem for problem in found if problem]:
            raise ConfigError(problems)

    def _leaf(self, tree: Plain, key: str, override: Override) -> Any:
        """The value that an override sets, converted to its type; options of a group have none.

        Raises:
            Unsupported: it sets more than one value. OmegaConfBaseException: the value is of the wrong type.
        """
        node: Any = tree
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                raise Unsupported(key)
            node = node[part]
        value, text = override.value(), line(override)
        if isinstance(node, dict):  # Hydra would merge into it
            raise Unsupported(key)
        if key.split(".")[0] in GROUPS:
            return to_plain(value)
        simple = all(isinstance(item, SCALARS) for item in (value if isinstance(value, list) else [value]))
        if not simple or "${" in text:
            raise Unsupported(key)
        if text not in self._typed_values:
            OmegaConf.update(self._typed, key, value, merge=True)
            typed = OmegaConf.select(self._typed, key)
            self._typed_values[text] = OmegaConf.to_container(typed) if OmegaConf.is_list(typed) else typed
        return self._typed_values[text]


def to_container(cfg: DictConfig) -> Options:
    """A config as plain, unresolved dicts."""
    tree: Tree = OmegaConf.to_container(cfg, resolve=False)
    return tree


def by_key(overrides: Sequence[str]) -> dict[str, Override]:
    """Parsed overrides by key; the last one of a key wins. Raises: ConfigError, one is not KEY=VALUE."""
    return keyed(map(parsed, overrides))


def keyed(overrides: Iterable[Override]) -> dict[str, Override]:
    """Overrides by key; the last one of a key wins."""
    return {override.get_key_element(): override for override in overrides}


def _simple(given: Overrides) -> dict[str, str | None]:
    """Choices as group: name. Raises: Unsupported, where an override is more than that."""
    choices: dict[str, str | None] = {}
    for key, override in given.items():
        if _is_value(key):
            continue
        name = override.value()
        if key not in GROUPS or not isinstance(name, str | None):
            raise Unsupported(line(override))
        choices[key] = name
    return choices


def _is_value(key: str) -> bool:
    """Whether an override's key names a value of the config, rather than a choice or a new key."""
    return key not in GROUPS and not key.startswith(("hydra", "+", "~")) and "@" not in key and "/" not in key


def _with(tree: Plain, path: Sequence[str], value: Any) -> Plain:
    """A tree with one leaf replaced; everything off the path is shared."""
    changed = Plain(tree)
    changed[path[0]] = value if len(path) == 1 else _with(tree[path[0]], path[1:], value)
    return changed
