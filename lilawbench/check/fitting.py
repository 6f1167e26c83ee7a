"""Whether loss, noise and method are for the task that the data set poses."""

from pathlib import Path

from omegaconf import OmegaConf
from yaml import YAMLError

from lilawbench.config import Plain
from lilawbench.support import searchpath
from lilawbench.support.locate import locate
from lilawbench.support.plain import Tree
from lilawbench.tasks import tasks_of


def misfits(cfg: Plain, task: str, unknown: dict[str, list[str]]) -> dict[str, str]:
    """The loss, noise and method that are not for this task, a line each."""
    lines = {}
    for group in ("loss", "noise", "method"):
        node = cfg[group]
        if unknown.get(group) or task in (allowed := tasks_of(locate(node["_target_"]))):
            continue
        fitting = ", ".join(name for name, other in choices(group) if task in _tasks_of(other))
        lines[group] = (
            f"{group}={node.get('name')} is for {' and '.join(allowed)} data; dataset={cfg.dataset.name} is {task} "
            f"(fitting: {fitting})"
        )
    return lines


def choices(group: str) -> list[tuple[str, str]]:
    """Name and target of each YAML of a group."""
    places = reversed([searchpath.CONF, *searchpath.in_use()])
    paths = {path.stem: path for folder in places for path in (folder / group).glob("*.yaml")}
    return [(name, target) for name, path in sorted(paths.items()) if (target := _target_in(path, group))]


def _target_in(path: Path, group: str) -> str | None:
    try:
        node: Tree = OmegaConf.load(path)
        return node.get(group, node).get("_target_")
    except (AttributeError, YAMLError):  # a file of the user's that was not chosen
        return None


def _tasks_of(target: str) -> tuple[str, ...]:
    """As `tasks_of`; none for a part that cannot be imported: only a suggestion is lost."""
    try:
        return tasks_of(locate(target))
    except ImportError:
        return ()
