"""What a command line asks for: help, a sweep, or one run, which is left to Hydra."""

import re
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

import lilawbench
from lilawbench.config import Plain, to_dict
from lilawbench.experiment.composer import by_key, composer
from lilawbench.experiment.overrides import GROUPS, check_choices, check_value, explained, line, parsed_all
from lilawbench.record.identity import changed_since
from lilawbench.schema import Config, Sweep, Table
from lilawbench.support import presets, searchpath
from lilawbench.support.errors import ConfigError
from lilawbench.support.hydra_private import apply_values, parsed_arguments
from lilawbench.support.plain import Tree
from lilawbench.support.searchpath import CONF

HYDRAS_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
HYDRAS_OWN = (
    *("hydra_help", "cfg", "info", "shell_completion", "config_path", "config_name", "experimental_rerun"),
    "run",
)
ONE_AT_A_TIME = ("run", "cfg", "info", "shell_completion")

DRY_RUN = "--dry-run"  # ours; all other flags are Hydra's

HELP = """\
lilawbench {version}: learning with noisy labels
  python -m lilawbench.train [GROUP=NAME ...] [KEY=VALUE ...]            one run
  python -m lilawbench.train -m [GROUP=NAME,NAME ...] [KEY=VALUE,VALUE]  every combination, then a report
  python -m lilawbench.train experiment=NAME                             the runs of an experiment

  --config-dir RUN do a finished run again by its folder, or what is left of it: sweep.redo=true, KEY=VALUE
  --dry-run        list the runs: what is done, what is left, how long it will take; run nothing
  --cfg job        print the config (with --resolve, resolved) and run nothing
  --config-dir DIR use your own folder of YAML files and code too; several: hydra.searchpath=[DIR,DIR]
  -sc install=bash set up TAB completion (zsh, fish: -sc install=zsh)
  --version, --hydra-help

Groups: GROUP=NAME
{groups}

The config: KEY=VALUE (train.lr=0.01)
{config}"""


class Command(NamedTuple):
    """A parsed command line."""

    args: Namespace  # as Hydra parses it
    overrides: list[str]  # without the search path
    folders: list[Path]  # the user's folders of YAML files
    dry_run: bool = False


def read(arguments: Sequence[str]) -> Command:
    """Parses a command line and makes the modules in its folders importable.

    Raises:
        ConfigError: a folder does not exist, or an override sets one of Hydra's, which are not used.
    """
    args = parsed_arguments([one for one in arguments if one != DRY_RUN])
    if unused := [one for one in args.overrides if one.lstrip("+").split("=", 1)[0] in HYDRAS_FOLDERS]:
        way = "a run lies in paths.output_dir/experiment_name under its own name: set paths.output_dir=FOLDER instead"
        raise ConfigError([f"{one} would have no effect; {way}" for one in unused])
    folders, overrides = searchpath.folders_of(args.config_dir, args.overrides)
    searchpath.use(folders)
    return Command(args, overrides, folders, DRY_RUN in arguments)


def completing(line: str) -> list[str]:
    """The --config-dir of a command line that TAB completes, which Hydra does not look for by itself."""
    named = re.search(r"(?:--config-dir|-cd)[= ](\S+)", line)
    return ["--config-dir", named[1]] if named and Path(named[1]).is_dir() else []


def completed(line: str, folders: Sequence[Path]) -> list[str] | None:
    """The presets that TAB completes at the end of a command line, of its method; None: it is about another word."""
    words = line.split()
    key, equals, start = words[-1].partition("=") if words and not line[-1:].isspace() else ("", "", "")
    if re.fullmatch(r"\+?pre(s|se|set)?", key) and not equals:
        return [f"{key[: key.startswith('+')]}{presets.GROUP}="]
    if key.lstrip("+") != presets.GROUP:
        return None
    method = next((word.removeprefix("method=") for word in reversed(words) if word.startswith("method=")), "ce")
    return [f"{key}={name}" for name in presets.names(method, folders) if name.startswith(start)]


def help_asked(command: Command) -> str | None:
    """The text of --help, with the config of the other arguments; None if it is not asked for.

    Hydra's own help searches every group again and takes seconds.
    """
    if not command.args.help:
        return None
    groups = []
    own = {str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_dir()}
    of_methods = {f"{presets.GROUP}/{method}" for method in presets.methods(command.folders)}
    for group in sorted(own - {presets.GROUP} | of_methods):
        names = ", ".join(searchpath.names(group, command.folders))
        spelt = group.replace(f"{presets.GROUP}/", f"+{presets.GROUP} of method=")
        groups.append(textwrap.fill(f"{spelt}: {names}", 100, subsequent_indent="  "))
    cfg = single(command)
    config = yaml.safe_dump(to_dict(cfg), sort_keys=False)
    return HELP.format(version=lilawbench.__version__, groups="\n".join(groups), config=config)


def again(command: Command) -> DictConfig | None:
    """The config of the run whose folder is the --config-dir, with the command's overrides; None: that is none's.

    It is done where that folder lies, whatever was the current folder then.

    Raises:
        ConfigError: the folder's config.yaml cannot be read; the command asks for a choice of a group, or for a sweep.
    """
    folder = Path(command.args.config_dir or "").absolute()
    path = folder / "config.yaml"
    if command.args.config_dir is None or command.args.config_name not in (None, "config") or not path.is_file():
        return None
    try:
        tree = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError([f"{path} cannot be read: {' '.join(str(error).split())}"]) from error
    if not isinstance(tree, DictConfig) or not searchpath.is_of_run(tree):
        return None
    overrides = parsed_all(command.overrides)
    if command.args.multirun or any(o.key_or_group in GROUPS or o.is_sweep_override() for o in overrides):
        raise ConfigError([f"{folder} is a run's folder: that run is done again, with KEY=VALUE only"])
    with explained():
        cfg: DictConfig = OmegaConf.structured(Config)
        cfg.merge_with(tree)
        place = {"paths": {"output_dir": str(folder.parent.parent)}, "experiment_name": folder.parent.name}
        cfg.merge_with(place | {"sweep": Sweep(), "table": Table()})
        if parts := changed_since(cfg, folder):
            told = f"{', '.join(parts)} has changed since {folder.name} was made"
            raise ConfigError([f"{told}: put back what it was, or start a new run by that one's command (result.json)"])
        OmegaConf.set_struct(cfg, True)
        known: Tree = OmegaConf.to_container(cfg, resolve=False)
        plainly = [override for override in overrides if not override.is_add() and not override.is_delete()]
        if problems := [wrong for override in plainly if (wrong := check_value(known, override))]:
            raise ConfigError(problems)
        apply_values(overrides, cfg)
    return cfg


def sweep_asked(command: Command) -> bool:
    """Whether a sweep is asked for: by -m, or by an experiment or launcher that sets hydra.mode to MULTIRUN.

    Raises:
        ConfigError: a choice that does not exist, several values without a sweep, or an experiment that cannot run yet.
    """
    overrides = parsed_all(command.overrides, command.folders)
    check_choices(overrides, command.folders)
    decisive = [o for o in overrides if o.key_or_group in ("experiment", "launcher", "hydra.mode")]
    sweep = command.args.multirun
    if decisive and not any(o.is_sweep_override() for o in decisive):
        with explained(), composer(command.folders) as compose:
            cfg = compose([line(o) for o in decisive], with_hydra=True)
        if "table" in cfg.table.waiting:
            raise ConfigError([f"experiment={cfg.experiment_name} cannot run yet: it needs {cfg.table.waiting.table}"])
        sweep = sweep or cfg.hydra.mode == RunMode.MULTIRUN
    if not sweep and (swept := [line(o) for o in overrides if o.is_sweep_override()]):
        rule = "for a sweep over several values add -m; for one value with a comma, or a list: KEY=[VALUE,VALUE]"
        raise ConfigError([f"{one}: {rule}" for one in swept])
    return sweep


def single(command: Command) -> Plain:
    """The config of a command that means one run. Raises: ConfigError, it cannot be composed."""
    with explained(), composer(command.folders) as compose:
        return compose.plain([line(override) for override in parsed_all(command.overrides, command.folders)])


def for_hydra(command: Command, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command as Hydra wants them, which knows no preset without its method."""
    given = by_key(command.overrides)
    if presets.GROUP not in given:
        return list(arguments)
    with composer(command.folders) as compose:
        spelt = line(compose.spelt(given)[presets.GROUP])
    return [one if presets.asked(one) is None else spelt for one in arguments if not presets.none(one)]


def left_to_hydra(command: Command) -> bool:
    """Whether Hydra answers: --cfg, --info, TAB and the like. Raises: ConfigError, it could not."""
    asked = [name for name in HYDRAS_OWN if getattr(command.args, name)]
    if command.args.multirun and any(name in ONE_AT_A_TIME for name in asked):
        flags = ", ".join(f"--{name}" for name in asked)
        raise ConfigError([f"-m and {flags} do not go together: leave one out"])
    return bool(asked)
