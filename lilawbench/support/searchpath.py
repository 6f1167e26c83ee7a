"""Where YAML files lie, with the code that they name: conf/ of the package, then folders that a command names."""

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lilawbench.support.errors import ConfigError
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")

PACKAGE = Path(__file__).parents[1]
# in an installed package, in a checkout
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())
KEY = "hydra.searchpath"
_used: list[Path] = []


def folders_of(config_dir: str | Path | None, overrides: Iterable[str] = ()) -> tuple[list[Path], list[str]]:
    """The further folders of a command, absolute and in Hydra's order, and its other overrides.

    Args:
        config_dir: Hydra's --config-dir. overrides: hydra.searchpath=[FOLDER,pkg://PACKAGE] may be among them.
    Raises:
        ConfigError: a folder or package that is not there, a search path that is no list, or a run's folder in it.
    """
    entries = [str(config_dir)] if config_dir else []
    given = list(overrides)
    mine = [override for override in given if override.lstrip("+").startswith(f"{KEY}=")]
    others = [override for override in given if override not in mine]
    if mine:
        listed = _listed(mine[0])  # of several, Hydra too takes the first
        if runs := [entry for entry in listed if _is_run(_folder(entry))]:
            raise ConfigError([f"{entry} in {KEY} is a run's folder: use --config-dir {entry}" for entry in runs])
        entries += listed
    folders = list(dict.fromkeys(map(_folder, entries)))
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise ConfigError([f"there is no folder {folder} (named by --config-dir or {KEY})" for folder in missing])
    return folders, others


def is_of_run(config: Mapping[object, object]) -> bool:
    """Whether a config.yaml is a run's own, whole, rather than a start to compose one from."""
    return "defaults" not in config and {"dataset", "method", "seed"} <= config.keys()


def _is_run(folder: Path) -> bool:
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(config, dict) and is_of_run(config)


def use(folders: Iterable[Path]) -> None:
    """Makes the modules in these folders importable. They come last: none hides a module of an installed package."""
    for folder in folders:
        if folder not in _used:
            _used.append(folder)
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    importlib.invalidate_caches()  # a file may be younger than the last look into its folder


def in_use() -> list[Path]:
    """The folders that this process has been told of."""
    return list(_used)


def override_of(folders: Sequence[Path]) -> list[str]:
    """The same folders as an override."""
    return [f"{KEY}=[{','.join(map(quoted, (f'file://{folder}' for folder in folders)))}]"] if folders else []


def quoted(value: str) -> str:
    """A string as an override's value, whatever characters it has."""
    return "'" + value.replace("'", "\\'") + "'"


def names(group: str, folders: Iterable[Path] = ()) -> list[str]:
    """The choices of a group."""
    return sorted({path.stem for folder in (CONF, *folders) for path in (folder / group).glob("*.yaml")})


@functools.cache
def written(group: str, name: str, key: str) -> Tree:
    """What the YAML of a choice sets a key to; None: it says nothing of it, or cannot be read."""
    for path in (folder / group / f"{name}.yaml" for folder in (CONF, *_used)):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        return content.get(key) if isinstance(content, dict) else None
    return None


def damage(group: str, name: str, folders: Iterable[Path]) -> list[str]:
    """What is wrong with the YAML of a choice in these folders, if it is not YAML at all."""
    for path in (folder / group / f"{name}.yaml" for folder in folders):
        try:
            yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            return [f"{path} cannot be read: {' '.join(str(error).split())}"]
    return []


def warn_of_hidden(folders: Iterable[Path]) -> None:
    """Says which YAML files are not read because the package has a choice of the same name."""
    for folder in folders:
        for path in sorted([*folder.glob("*/*.yaml"), *folder.glob("preset/*/*.yaml")]):
            place = path.relative_to(folder)
            if (CONF / place).exists():
                choice = f"{place.parts[0]}={'/'.join(place.with_suffix('').parts[1:])}"
                log.warning("%s is not read: %s is lilawbench's own, which comes first; rename yours", path, choice)


def _listed(override: str) -> list[str]:
    try:
        value = OverridesParser.create().parse_overrides([override])[0].value()
    except HydraException as error:
        raise ConfigError([" ".join(str(error).split())]) from error
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ConfigError([f"{override}: a list of folders is expected, {KEY}=[FOLDER]"])
    return [str(entry) for entry in value]


def _folder(entry: str) -> Path:
    """Of an entry of the search path; a relative one is relative to the current directory."""
    scheme, _, place = entry.rpartition("://")
    if scheme in ("", "file"):
        return Path(place).absolute()
    if scheme != "pkg":
        raise ConfigError([f"{entry}: a folder or pkg://PACKAGE is expected in {KEY}"])
    try:
        found = importlib.util.find_spec(place.replace("/", "."))
    except ImportError:
        found = None
    if found is None or not found.submodule_search_locations:
        raise ConfigError([f"{entry}: there is no such package (named by {KEY})"])
    return Path(next(iter(found.submodule_search_locations)))
