"""Whether a command line asks for help, for one run, which is Hydra's to do, or for a sweep."""

import textwrap
from collections.abc import Sequence

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

import lilawbench
from lilawbench.config import CONF, to_dict
from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import check_choices
from lilawbench.support.errors import ConfigError

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
  --config-dir DIR a further folder of YAML files
  -sc install=bash TAB completes (zsh, fish: -sc install=zsh)
  --version, --hydra-help

Groups: GROUP=NAME
{groups}

The config: KEY=VALUE (train.lr=0.01)
{config}"""


def help_asked(arguments: Sequence[str]) -> str | None:
    """What --help prints, with the config that the other arguments make; None if it is not asked for.

    Hydra's own help looks into each group anew and takes seconds.
    """
    args = get_args_parser().parse_intermixed_args(arguments)
    if not args.help:
        return None
    lines = []
    for folder in sorted(path for path in CONF.rglob("*") if path.is_dir()):
        names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        lines.append(textwrap.fill(f"{folder.relative_to(CONF)}: {names}", 100, subsequent_indent="  "))
    try:
        with composer(args.config_dir) as composed:
            cfg = composed.plain(args.overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([" ".join(str(error).split())]) from error
    config = yaml.safe_dump(to_dict(cfg), sort_keys=False)
    return HELP.format(version=lilawbench.__version__, groups="\n".join(lines), config=config)


def sweep_asked(arguments: Sequence[str]) -> tuple[list[str], str | None] | None:
    """The overrides and further config folder of a sweep; None if Hydra is to do it: one run, --help, --cfg ...

    A sweep is asked for by -m, or by an experiment or a launcher whose hydra.mode is MULTIRUN.

    Raises:
        ConfigError: a choice that does not exist, or an experiment that waits for something.
    """
    args = get_args_parser().parse_intermixed_args(arguments)
    if any(getattr(args, name) for name in HYDRAS_OWN):
        return None
    try:
        overrides = OverridesParser.create().parse_overrides(args.overrides)
    except HydraException:  # Hydra says it best itself
        return None
    check_choices(overrides, args.config_dir)
    asked = (args.overrides, args.config_dir)
    decisive = [o for o in overrides if o.key_or_group in ("experiment", "launcher", "hydra.mode")]
    if not decisive or any(o.is_sweep_override() for o in decisive):
        return asked if args.multirun else None
    with composer(args.config_dir) as composed:
        cfg = composed([o.input_line for o in decisive], with_hydra=True)
    if "table" in cfg.table.waiting:
        raise ConfigError([f"experiment={cfg.experiment_name} waits for {cfg.table.waiting.table}"])
    return asked if args.multirun or cfg.hydra.mode == RunMode.MULTIRUN else None
