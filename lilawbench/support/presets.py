"""Settings of a method for a data set: preset=NAME is conf/preset/METHOD/NAME.yaml, of the method that is chosen.

Hydra cannot choose a file by another choice if that file is to override a third (its network), so the name is spelt
out before Hydra composes: preset=cifar10 becomes preset=dividemix/cifar10.
"""

from collections.abc import Iterable
from pathlib import Path

from omegaconf import OmegaConf

from lilawbench.support import searchpath
from lilawbench.support.errors import ConfigError, closest
from lilawbench.support.values import spelled

GROUP = "preset"


def methods(folders: Iterable[Path] = ()) -> list[str]:
    """The methods that have presets."""
    roots = (folder / GROUP for folder in (searchpath.CONF, *folders))
    return sorted({path.parent.name for root in roots for path in root.glob("*/*.yaml")})


def names(method: str, folders: Iterable[Path] = ()) -> list[str]:
    """The presets of a method."""
    return searchpath.names(f"{GROUP}/{method}", folders)


def asked(override: str) -> str | None:
    """The name in an override preset=NAME or +preset=NAME; None: it is another override, or asks for none."""
    key, _, name = override.partition("=")
    return name if key.lstrip("+") == GROUP and name != "null" else None


def none(override: str) -> bool:
    """Whether it is preset=null or +preset=null, which Hydra does not take for a group without a default."""
    return override.lstrip("+") == f"{GROUP}=null"


def spelt(name: object, method: str, dataset: str, folders: Iterable[Path] = ()) -> str:
    """METHOD/NAME of a preset; "null", where a reference to the data set comes to none.

    Args:
        name: as the command has it: NAME, METHOD/NAME, or what refers to the data set that is chosen, ${dataset} or
            ${case:${dataset},{cifar10_lt:cifar10}}, which is null for any other.
    Raises:
        ConfigError: the method has no such preset, or its file is no YAML. OmegaConfBaseException: no such reference.
    """
    folders = list(folders)
    if isinstance(name, str) and "${" in name:
        name = OmegaConf.create({"dataset": dataset, GROUP: name})[GROUP]
        if name is None:
            return "null"
    if not isinstance(name, str) or name.count("/") > 1:
        raise ConfigError([f"{GROUP}={spelled(name)}: the name of a preset is expected, {GROUP}=NAME"])
    own, there = name.removeprefix(f"{method}/"), names(method, folders)
    if own not in there:
        has = f"it has: {', '.join(there)}" if there else f"it has none; {', '.join(methods(folders)) or 'none'} have"
        near = f"; {closest(own, there)}" if own and len(there) > 5 else ""
        lacks = f"method={method} has no preset {name}"
        if not own:
            lacks = f"{GROUP}= lacks the name of a preset of method={method}"
        raise ConfigError([f"{lacks}; {has}{near}"])
    if damage := searchpath.damage(GROUP, f"{method}/{own}", (searchpath.CONF, *folders)):
        raise ConfigError(damage)
    return f"{method}/{own}"
