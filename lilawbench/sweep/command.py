"""Whether a command line asks for one run, which is Hydra's to do, or for a sweep."""

from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode

from lilawbench.errors import ConfigError
from lilawbench.sweep.composer import composer
from lilawbench.sweep.plan import check_choices

HYDRAS_OWN = (
    *("help", "hydra_help", "cfg", "info", "shell_completion", "config_path", "config_name", "experimental_rerun"),
    "run",
)


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
