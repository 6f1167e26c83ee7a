"""Whether a command line asks for help, for one run, which is Hydra's to do, or for a sweep."""

import re
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

import lilawbench
from lilawbench.config import to_dict
from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import check_choices
from lilawbench.support import searchpath
from lilawbench.support.errors import ConfigError
from lilawbench.support.hydra_private import parsed_arguments
from lilawbench.support.searchpath import CONF

HYDRAS_OWN = (
    *("hydra_help", "cfg", "info", "shell_completion", "config_path", "config_name", "experimental_rerun"),
    "run",
)


HELP = """\
lilawbench {version}: learning with noisy labels
  python -m lilawbench.train [GROUP=NAME ...] [KEY=VALUE ...]            one run
  python -m lilawbench.train -m [GROUP=NAME,NAME ...] [KEY=VALUE,VALUE]  every combination, then their comparison
  python -m lilawbench.train experiment=NAME                             the runs of a table or comparison

  --cfg job        prints the config, resolved with --resolve, and runs nothing
  --config-dir DIR a further folder of YAML files and the code that they name; several: hydra.searchpath=[DIR,DIR]
  -sc install=bash TAB completes (zsh, fish: -sc install=zsh)
  --version, --hydra-help

Groups: GROUP=NAME
{groups}

The config: KEY=VALUE (train.lr=0.01)
{config}"""


class Command(NamedTuple):
    """A command line, read."""

    args: Namespace  # as Hydra has it
    overrides: list[str]  # less the search path
    folders: list[Path]  # further ones of YAML files


def read(arguments: Sequence[str]) -> Command:
    """Reads a command line; the modules in its further folders are importable then.

    Raises:
        ConfigError: a further folder is not there.
    """
    args = parsed_arguments(arguments)
    folders, overrides = searchpath.folders_of(args.config_dir, args.overrides)
    searchpath.use(folders)
    return Command(args, overrides, folders)


def completing(line: str) -> list[str]:
    """The further folder of a command line that TAB completes, which Hydra does not look for there by itself."""
    named = re.search(r"(?:--config-dir|-cd)[= ](\S+)", line)
    return ["--config-dir", named[1]] if named and Path(named[1]).is_dir() else []


def help_asked(command: Command) -> str | None:
    """What --help prints, with the config that the other arguments make; None if it is not asked for.

    Hydra's own help looks into each group anew and takes seconds.
    """
    if not command.args.help:
        return None
    lines = []
    for group in sorted(str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_dir()):
        names = ", ".join(searchpath.names(group, command.folders))
        lines.append(textwrap.fill(f"{group}: {names}", 100, subsequent_indent="  "))
    try:
        with composer(command.folders) as composed:
            cfg = composed.plain(command.overrides)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError([" ".join(str(error).split())]) from error
    config = yaml.safe_dump(to_dict(cfg), sort_keys=False)
    return HELP.format(version=lilawbench.__version__, groups="\n".join(lines), config=config)


def sweep_asked(command: Command) -> bool:
    """Whether a plan is to be made; if not, Hydra does what is asked: one run, --cfg ...

    A sweep is asked for by -m, or by an experiment or a launcher whose hydra.mode is MULTIRUN.

    Raises:
        ConfigError: a choice that does not exist, or an experiment that waits for something.
    """
    if any(getattr(command.args, name) for name in HYDRAS_OWN):
        return False
    try:
        overrides = OverridesParser.create().parse_overrides(command.overrides)
    except HydraException:  # Hydra says it best itself
        return False
    check_choices(overrides, command.folders)
    decisive = [o for o in overrides if o.key_or_group in ("experiment", "launcher", "hydra.mode")]
    if not decisive or any(o.is_sweep_override() for o in decisive):
        return command.args.multirun
    with composer(command.folders) as composed:
        cfg = composed([o.input_line for o in decisive], with_hydra=True)
    if "table" in cfg.table.waiting:
        raise ConfigError([f"experiment={cfg.experiment_name} waits for {cfg.table.waiting.table}"])
    return command.args.multirun or cfg.hydra.mode == RunMode.MULTIRUN
