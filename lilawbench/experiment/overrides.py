"""The overrides of a command, parsed, with what a user most often gets wrong told in words.

Whatever is told here is told before Hydra composes, whose own messages are of its inner parts.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import MISSING
from omegaconf.errors import OmegaConfBaseException

from lilawbench.schema import Config
from lilawbench.support import presets, searchpath
from lilawbench.support.errors import ConfigError, closest, unknown_option
from lilawbench.support.plain import Tree
from lilawbench.support.searchpath import CONF
from lilawbench.support.values import misfit, spelled

GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}
OPTIONAL = ("experiment", "debug", "preset")  # groups of which there may be no choice
SEVERAL = ("probe",)  # groups of which there may be several
TYPES = {item.name: item.type for item in fields(Config)}
# Hydra's own settings that a run's folder and its log make meaningless
UNUSED = {
    "hydra.run.dir": "paths.output_dir=FOLDER and experiment_name=NAME say where runs are recorded",
    "hydra.sweep.dir": "paths.output_dir=FOLDER and experiment_name=NAME say where runs are recorded",
    "hydra.sweep.subdir": "the folder of a run is named after its config",
    "hydra.output_subdir": "a run's config is in its folder, config.yaml",
    "hydra.job.chdir": "a run does not leave the current folder",
}
LOGS = ("hydra.job_logging", "hydra.hydra_logging", "hydra.callbacks")
SHELL = """'{key}="{value}"'"""  # what a shell and Hydra's grammar both leave as it is
TEXT, NAKED = r""""[^"]*"|'[^']*'""", r"[a-zA-Z0-9_ ./+*%$@?|\\-]+"
PLAIN = "a-z, A-Z, 0-9, _ and -"


@contextmanager
def explained() -> Iterator[None]:
    """Turns what Hydra and OmegaConf say of a config into one line. Raises: ConfigError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        where = getattr(error, "override", None) or getattr(error, "full_key", None)
        text = " ".join(str(error).split()).partition(" full_key:")[0]
        raise ConfigError([f"{where}: {text}" if where and str(where) not in text else text]) from error


@functools.cache
def parsed(override: str) -> Override:
    """An override, of a group without the + that it may have.

    Raises:
        ConfigError: it is not KEY=VALUE in Hydra's grammar; says what to put into quotes.
    """
    if override.lstrip("+").partition("=")[0] in GROUPS:
        override = override.lstrip("+")
    try:
        found = OverridesParser.create().parse_overrides([override])[0]
    except HydraException as error:
        raise ConfigError([_unparsed(override, error)]) from error
    if not found.key_or_group:
        raise ConfigError([f"{override}: there is no key before =; KEY=VALUE is expected"])
    return found


def parsed_all(overrides: Iterable[str], folders: Sequence[Path] = ()) -> list[Override]:
    """Each override, with glob(*) of a group spelt out and `experiment=null` left out.

    Raises:
        ConfigError: every one that is not KEY=VALUE, leaves out what a run must have, or sets what is not used.
    """
    problems: list[str] = []
    found: list[Override] = []
    for override in overrides:
        try:
            one = _spelt_out(parsed(override), folders)
            if wrong := _misuse(one):
                problems.append(wrong)
            elif not (one.key_or_group in OPTIONAL and (one.is_delete() or one.value() is None)):
                found.append(one)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return found


def line(override: Override) -> str:
    """The text that an override was parsed from, KEY=VALUE."""
    return override.input_line or ""


def values(override: Override) -> list[Tree]:
    """All values that an override stands for, parsed."""
    if not override.is_sweep_override():
        return [override.value()]
    key = override.get_key_element()
    return [parsed(f"{key}={text}").value() for text in override.sweep_string_iterator()]


def check_choices(overrides: Iterable[Override], folders: Sequence[Path] = ()) -> None:
    """Raises: ConfigError, a choice has no YAML (it names the closest ones) or a damaged one; several experiments.

    Which presets there are depends on the method: the composer says it.
    """
    problems = []
    for override in overrides:
        group = override.key_or_group
        if group not in GROUPS or group == presets.GROUP or override.is_delete():
            continue
        if group == "experiment" and len(values(override)) > 1:
            problems.append(f"{line(override)}: a command does one experiment; give each a command of its own")
            continue
        names = searchpath.names(group, folders)
        for value in values(override):
            chosen = value if isinstance(value, list) and group in SEVERAL else [value]
            if any(not isinstance(name, str) for name in chosen):
                problems.append(f"{group}={spelled(value)}: the name of a choice is expected, {group}=NAME")
                continue
            problems += [
                f"{group}={name} does not exist; {closest(name, names)}" for name in chosen if name not in names
            ]
            problems += [problem for name in chosen for problem in searchpath.damage(group, name, folders)]
    if problems:
        raise ConfigError(problems)


def check_value(tree: Mapping[str, Tree], override: Override) -> str | None:
    """What is wrong with a plain KEY=VALUE, for a config as its choices make it; None: nothing that is seen here.

    Args:
        tree: the config, resolved or not.
    """
    key = override.key_or_group
    path = key.split(".")
    node: Tree = tree
    for number, part in enumerate(path):
        if node == MISSING:
            return f"{key}: {'.'.join(path[:number])} has no value yet; set the whole of it"
        if not isinstance(node, dict):
            return f"{key}: {'.'.join(path[:number])} is {spelled(node)}, which has no options"
        if part not in node:
            return _unknown(tree, path, number, node, line(override))
        node = node[part]
    value = override.value()
    kind = _type_of(tuple(path))
    if isinstance(kind, type) and is_dataclass(kind):
        given = isinstance(value, dict)
        return None if given else f"{key} is {spelled(value)}; it is a block of options: {key}.KEY=VALUE"
    if kind is None or (isinstance(value, str) and "${" in value):
        return None
    as_written = line(override).partition("=")[2]
    if isinstance(value, int | float) and as_written == str(value) and misfit(key, as_written, kind) is None:
        return None  # text that looks like a number, and stays what it is
    return misfit(key, value, kind)


@functools.cache
def _type_of(path: tuple[str, ...]) -> Tree:
    """The type of a value in a typed block; None: in a group's node, which its part knows."""
    kind: Tree = Config
    for part in path:
        if not (isinstance(kind, type) and is_dataclass(kind)):
            return None
        kind = {item.name: item.type for item in fields(kind)}.get(part)
    return None if path[0] in GROUPS else kind


def _unknown(tree: Mapping[str, Tree], path: Sequence[str], number: int, node: Mapping[str, Tree], text: str) -> str:
    """Of a key that is not in the config. A YAML need not list all options: + adds one that the part has."""
    upto, part = ".".join(path[: number + 1]), path[0]
    valid = [str(name) for name in node if name not in ("name", "convention", "_target_")]
    if number == 0:
        return unknown_option(upto, "", node)
    if part not in GROUPS:
        return unknown_option(upto, "", valid)
    name = str(tree[part].get("name", part))
    said = unknown_option(upto, (part if "${" in name else name) if number == 1 else "", valid)
    if "did you mean" in said:
        return said
    if number == 1 and (others := _with_option(part, path[1])):
        chosen = f"this {part}" if "${" in name else f"{part}={name}"
        return f"{upto} is not an option of {chosen}; it is one of {part}={', '.join(others)}"
    return f"{said}; one that its YAML does not list is added with +{text}"


def _with_option(group: str, name: str) -> list[str]:
    """The choices of a group whose YAML lists an option."""
    trees = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONF / group).glob("*.yaml")}
    return sorted(choice for choice, tree in trees.items() if name in (tree.get(group) or tree))


def _misuse(override: Override) -> str | None:
    """What Hydra accepts, or answers with a traceback, and no run can be."""
    key = override.key_or_group
    if override.is_delete():
        if (key in TYPES and key not in OPTIONAL) or key.split(".")[0] in TYPES.keys() - GROUPS:
            return f"~{key}: {key} cannot be left out{_none_of(key)}"
        return None
    if key in UNUSED:
        return f"{key} is not used: {UNUSED[key]}"
    if key.startswith(LOGS) or (key.startswith("hydra.") and "_target_" in line(override)):
        return f"{key} is not used: lilawbench has its own launchers and logs, and runs no other part of Hydra's"
    if key in GROUPS and key not in OPTIONAL and not override.is_sweep_override() and override.value() is None:
        return f"{key}=null: every run has a {key}{_none_of(key)}"
    return None


def _none_of(group: str) -> str:
    if group in GROUPS and (CONF / group / "none.yaml").exists():
        return f"; {group}=none is the one that does nothing"
    return f": {group}=NAME" if group in GROUPS else f"; set it with {group}=VALUE"


def _spelt_out(override: Override, folders: Sequence[Path]) -> Override:
    """An override with the names that a glob stands for. Raises: ConfigError, it stands for none."""
    if not isinstance(pattern := override.value(), Glob):
        return override
    group = override.key_or_group
    if group not in GROUPS:
        raise ConfigError([f"{line(override)}: glob(...) is for the choices of a group, and {group} is none"])
    if not (names := pattern.filter(searchpath.names(group, folders))):
        there = ", ".join(searchpath.names(group, folders))
        raise ConfigError([f"{line(override)}: no choice has such a name; there are {there}"])
    return parsed(f"{group}={','.join(names)}")


def _unparsed(override: str, error: HydraException) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: KEY=VALUE is expected"
    if not re.fullmatch(r"[~+]*[\w./@:$-]+", key):
        return f"{override}: {key or 'nothing'} is no key; KEY=VALUE is expected, such as train.lr=0.01"
    if value.startswith("~") and not re.search(r"[\s()\[\]{}]", value):
        return f"{override}: the shell leaves ~ as it is after =; write {key}=$HOME{value[1:]} or the whole path"
    if value[:1] in "[{":
        return f"{override}: {_unparsed_list(key, value)}"
    if '"' in value or "'" in value:
        text = " ".join(str(error).split()).partition(" See https://hydra.cc")[0]
        return f"{override}: {text.removeprefix('LexerNoViableAltException: ')}"
    quoted = SHELL.format(key=key, value=value)
    return f"{override}: a value with spaces, brackets or signs wants two kinds of quotes: {quoted}"


def _unparsed_list(key: str, value: str) -> str:
    """Of a list or mapping: texts in it want quotes if they have other characters than NAKED, keys never have any."""
    bare = re.sub(TEXT, "", value)
    if any(bare.count(opening) != bare.count(closing) for opening, closing in ("[]", "{}", "()")):
        return "its brackets do not match: each [ or { wants its ] or }"
    if "'" in bare or '"' in bare:
        return "its quotes do not match: each \" or ' wants another"
    parts = [part.strip() for part in re.findall(rf"{TEXT}|[^\[\]{{}},:\"']+|.", value)]
    parts = [part for part in parts if part]
    for number, part in enumerate(parts):
        text = part[1:-1] if re.fullmatch(TEXT, part) else part
        is_key = parts[number + 1 : number + 2] == [":"] and parts[number - 1] in "{,"
        if is_key and not re.fullmatch(NAKED, text):
            return (
                f"the key {text} has more than {PLAIN}, which a command line cannot say: give a class by its number, "
                "or write the mapping into a YAML file of your own"
            )
        if is_key:
            parts[number] = text
        elif text != part or not re.fullmatch(NAKED, text):
            parts[number] = part if len(part) == 1 and part in "[]{},:" else f'"{text}"'
    mended = f"{key}={''.join(parts)}"
    try:
        OverridesParser.create().parse_overrides([mended])
    except HydraException:
        return "Hydra's grammar has [VALUE,VALUE] and {KEY:VALUE,KEY:VALUE}, with quotes around texts, not around keys"
    return f"in brackets, a text with more than {PLAIN} wants quotes, and a key has none: '{mended}'"
