"""What the options of a launcher may be: they have no signature of their own."""

from collections.abc import Mapping, Sequence

from lilawbench.config import Plain
from lilawbench.support.errors import ConfigError, unknown_option
from lilawbench.support.plain import Tree
from lilawbench.support.values import Kind, misfit

KINDS: dict[str, dict[str, Kind]] = {
    "local": {},
    "joblib": {
        "processes": int | None,
        "runs_per_gpu": int,
        "memory_gb_per_run": float | None,
        "runs_per_job": int,
    },
    "slurm": {
        **dict.fromkeys(("partition", "account", "qos", "constraint", "gres", "python"), str | None),
        **dict.fromkeys(("gpus_per_node", "mem_gb"), int | None),
        **dict.fromkeys(("nodes", "tasks_per_node", "cpus", "time_min", "runs_per_job", "at_once"), int),
        **dict.fromkeys(("grace_s", "requeues"), int),
        "wait": bool,
        "setup": Sequence[str],
        "extra": Mapping[str, Tree],
    },
}
MAY_BE_ZERO = ("gpus_per_node", "grace_s", "requeues")
MOST = {"processes": 1024, "runs_per_gpu": 1024}  # processes of one machine


def check_launcher(launcher: Plain) -> None:
    """Raises: ConfigError, an option that the launcher does not have, or a value that it cannot be."""
    kinds, name = KINDS.get(launcher.get("name", "")), launcher.get("name")
    if kinds is None:
        raise ConfigError([f"launcher.name is {name}; it must be {' or '.join(KINDS)}"])
    problems = []
    for key, value in launcher.items():
        if key == "name":
            continue
        if key not in kinds:
            problems.append(unknown_option(f"launcher.{key}", str(name), kinds))
        elif wrong := misfit(f"launcher.{key}", value, kinds[key]):
            problems.append(wrong)
        elif isinstance(value, int | float) and (rule := _out_of_range(key, value)):
            problems.append(f"launcher.{key} is {value}; it must be {rule}")
    if problems:
        raise ConfigError(problems)


def _out_of_range(key: str, value: float) -> str | None:
    """The rule that a number breaks."""
    if key in MOST and value > MOST[key]:
        return f"from 1 to {MOST[key]}"
    if key in MAY_BE_ZERO:
        return None if value >= 0 else ">= 0"
    return None if value > 0 else "> 0"
