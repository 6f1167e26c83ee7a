"""The config of a set of choices, read from the files of conf/ as Hydra reads them, in a tenth of the time.

Hydra takes 0.2 s for each set of choices, mostly for its own config, and a table has dozens of sets. This reads only
the kinds of defaults entries that these files have; on anything else it raises Unsupported, and Hydra composes.

    `- _self_`   `- name` of the same group   `- group: choice` in the root   `- override /group: choice`

If several entries override one group, the first that is read wins, after the command line; lists are read from the end,
as Hydra does.
"""

import copy
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from omegaconf import MISSING, OmegaConf

from lilawbench.config import CONF, Plain, plain, to_dict, to_plain
from lilawbench.schema import Config
from lilawbench.support.hydra_private import yaml_rules
from lilawbench.support.plain import Options, Tree

TYPES = {item.name: item.type for item in fields(Config)}  # types of the config's blocks
DEFAULTS = {item.name: MISSING if item.default is dataclasses.MISSING else item.default for item in fields(Config)}
PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)", re.MULTILINE)


class Unsupported(Exception):
    """A file holds something that only Hydra understands."""


class Read(NamedTuple):
    """A YAML file: its defaults list, and its content at its place in the config."""

    defaults: list[Tree]
    content: Options


def raw(choices: Mapping[str, str | None], folders: Sequence[Path] = ()) -> Plain:
    """The config of these choices, group: name, with the defaults of the other groups; typed, unresolved.

    Args:
        folders: the user's, searched after conf/.
    Raises:
        Unsupported, OSError, yaml.YAMLError, OmegaConfBaseException: only Hydra can compose it, or say what is wrong.
    """
    tree = merged(choices, folders)
    tree.pop("hydra", None)
    if strange := tree.keys() - TYPES.keys():
        raise Unsupported(str(strange))
    return Plain({name: _typed(name, tree.get(name)) for name in TYPES})


def resolved(tree: Plain, known: dict[str, Plain]) -> Plain:
    """The same with its interpolations resolved. Blocks without any are shared.

    Args:
        known: results so far, added to; keep them within one plan, since interpolations may read the environment.
    Raises:
        Unsupported: an interpolation that may refer to anything. OmegaConfBaseException: one that cannot be resolved.
    """
    texts = {name: text for name, block in tree.items() if "${" in (text := repr(block))}
    if not texts:
        return tree
    names, alone = set(texts), Plain()
    for name, text in texts.items():
        text = text.replace("\\\\${", "")  # escaped: resolved later
        if "${" not in text:
            names.remove(name)
            alone |= _resolved({name: tree[name]}, known)
        elif re.search(r"\$\{[^{}:]*\$\{|\$\{\.*\}|oc\.(select|dict|create|decode|deprecated)", text):
            raise Unsupported(text)
        else:
            names |= TYPES.keys() & set(re.findall(r"[^\W\d][\w-]*", text))
    part = {name: tree[name] for name in TYPES if name in names}
    return Plain({**tree, **_resolved(part, known), **alone})


def _resolved(part: dict[str, Any], known: dict[str, Plain]) -> Plain:
    key = repr(part)
    if key not in known:
        blocks = {
            name: OmegaConf.merge(OmegaConf.structured(TYPES[name]), block)
            if is_dataclass(TYPES[name]) and "${" in repr(block)  # others have their types, and are only referred to
            else block
            for name, block in to_dict(part).items()
        }
        known[key] = plain(OmegaConf.create(blocks))
    return known[key]


def _typed(name: str, content: Any) -> Any:
    """A block of the config with all fields of its type, the values converted to their types."""
    kind = TYPES[name]
    if isinstance(kind, type) and is_dataclass(kind):
        return _typed_block(kind, repr(content), content or {})
    if content is None:
        return DEFAULTS[name]
    if (kind in (int, str) and type(content) is not kind) or (kind not in (int, str) and not isinstance(content, dict)):
        raise Unsupported(f"{name}: {content}")
    return to_plain(content)


def _typed_block(kind: type, text: str, content: dict[str, Any]) -> Plain:
    if (kind, text) not in _blocks:
        block: Tree
        if _fits(content, kind):  # nothing to convert, for which OmegaConf would take 10 ms
            block = dataclasses.asdict(kind())
            _merge(block, content)
        else:
            block = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(kind), content), resolve=False)
        _blocks[kind, text] = to_plain(block)
    return _blocks[kind, text]


_blocks: dict[tuple[type, str], Plain] = {}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value already has a type."""
    parts = get_args(kind)
    if is_dataclass(kind):
        types = {item.name: item.type for item in fields(kind)}
        return isinstance(value, dict) and all(key in types and _fits(value[key], types[key]) for key in value)
    if isinstance(kind, UnionType):
        return any(_fits(value, part) for part in parts)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(one, parts[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(
            _fits(one, part) for pair in value.items() for one, part in zip(pair, parts)
        )
    return type(value) is kind


def merged(choices: Mapping[str, str | None], folders: Sequence[Path] = ()) -> Options:
    """All files of these choices as one tree, untyped and unresolved; `hydra` holds only what they set."""
    overrides = dict(choices)
    tree: dict[str, Any] = {}
    files = _walk("", "config", overrides, (CONF, *folders))
    for content in reversed(list(files)):
        _merge(tree, content)
    return tree


def chosen(group: str, choices: Mapping[str, str | None], folders: Sequence[Path] = ()) -> str:
    """The choice of a group in the config of these choices. Raises: as `raw`."""
    overrides = dict(choices)
    list(_walk("", "config", overrides, (CONF, *folders)))
    entries = _read(_found("", "config", (CONF,)), "").defaults
    name = overrides.get(group) or next(entry[group] for entry in entries if isinstance(entry, dict) and group in entry)
    if not isinstance(name, str):
        raise Unsupported(group)
    return name


def _walk(group: str, name: str, overrides: dict[str, str | None], folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The contents to merge, the last one first; adds to `overrides` on the way."""
    read = _read(_found(group, name, folders), group)
    entries = list(read.defaults)
    plain = [entry for entry in entries if isinstance(entry, str) or not next(iter(entry)).startswith("override ")]
    if plain and "_self_" not in plain:
        entries.append("_self_")
    if not plain:  # overrides alone
        entries.append("_self_")
    for entry in entries:
        if isinstance(entry, dict) and (key := next(iter(entry))).startswith("override "):
            overrides.setdefault(key.removeprefix("override ").lstrip("/"), entry[key])
    for entry in reversed(entries):
        if entry == "_self_":
            yield read.content
        elif isinstance(entry, str):
            if entry != "schema":
                inside, _, name = entry.rpartition("/")
                yield from _walk("/".join(filter(None, (group, inside))), name, overrides, folders)
        elif not (key := next(iter(entry))).startswith("override "):
            if group:
                raise Unsupported(key)
            if (choice := overrides.get(key, entry[key])) is not None:
                inside, _, last = choice.rpartition("/") if isinstance(choice, str) else ("", "", choice)
                yield from _walk("/".join(filter(None, (key, inside))), last, overrides, folders)


def _found(group: str, name: str, folders: Sequence[Path]) -> Path:
    if not isinstance(name, str) or "${" in name:
        raise Unsupported(name)
    paths = (folder / group / f"{name}.yaml" for folder in folders)
    return next((path for path in paths if path.is_file()), None) or _missing(f"{group}/{name}")


def _missing(name: str) -> Path:
    raise Unsupported(f"{name} does not exist")


def _read(path: Path, group: str) -> Read:
    """A file, read once until it changes. Do not change the result."""
    return _read_once(path, group, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1000)
def _read_once(path: Path, group: str, mtime_ns: int) -> Read:
    text = path.read_text(encoding="utf-8")
    tree = yaml.load(text, Loader=_loader()) or {}
    package = PACKAGE.search(text)
    if not isinstance(tree, dict) or (package and package[1] != "_global_") or ("/" in group and not package):
        raise Unsupported(str(path))
    defaults = tree.pop("defaults", [])
    for entry in defaults:
        if isinstance(entry, dict):
            if len(entry) > 1 or not re.fullmatch(r"(override /?)?\w[\w/]*", next(iter(entry))):
                raise Unsupported(f"{path}: {entry}")
        elif not isinstance(entry, str) or not re.fullmatch(r"[\w/]+", entry):
            raise Unsupported(f"{path}: {entry}")
    content = {group: tree} if group and not package else tree
    return Read(defaults, content)


@functools.cache
def _loader() -> type:
    """OmegaConf's rules for numbers, in PyYAML's fast loader where there is one."""
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return type("Loader", (base,), {"yaml_implicit_resolvers": yaml_rules()})


def _merge(tree: dict[str, Any], other: dict[str, Any]) -> None:
    """Merges one tree into another, in place; lists are replaced."""
    for key, value in other.items():
        there = tree.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(there, value)
        elif isinstance(there, dict) and value is not None:
            raise Unsupported(f"{key}: {value}")
        else:
            tree[key] = copy.deepcopy(value)
