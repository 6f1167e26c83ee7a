"""Refuses several runs of one cell and seed: the user has to choose."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lilawbench.report.names import text, with_names
from lilawbench.support.errors import UserError
from lilawbench.tasks import TASKS

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 10  # cells named in the message; further ones are counted


def with_unique_names(runs: "DataFrame", picked: Sequence[str] = ()) -> "DataFrame":
    """The runs with the columns of `with_names`. Raises: UserError, see `refuse_repeated`."""
    named = with_names(runs, picked)
    refuse_repeated(named)
    return named


def refuse_repeated(named: "DataFrame") -> None:
    """Raises: UserError listing all runs that share setting, method and seed with another, and how they differ.

    Args:
        named: runs with the columns of `with_names`.
    """
    cell = ["scene", "method", "config.seed"]
    repeated = named[named.duplicated(cell, keep=False)]
    if repeated.empty:
        return
    groups = [(key, group.to_dict("records")) for key, group in repeated.groupby(cell)]
    lines = [f"{len(groups)} cell{'' if len(groups) == 1 else 's'} with several runs of one seed:"]
    for (scene, method, seed), runs in groups[:SHOWN]:
        count = "two" if len(runs) == 2 else len(runs)
        lines.append(f"{count} runs of {method}, seed {seed}, in one setting ({scene}):")
        lines += [f"  {run['folder']}: {_facts(run)}" for run in runs]
    if len(groups) > SHOWN:
        lines.append(f"and {len(groups) - SHOWN} more such cells")
    lines.append(
        "Which ones should count? Name their folders, or move the others away (a folder whose name begins with a dot "
        "is not collected)."
    )
    raise UserError("\n".join(lines))


def _facts(run: dict) -> str:
    """Last test accuracy (mAP, RMSE), versions, and the first digits of the labels' hash."""
    metric = f"test_{TASKS[text(run.get('task')) or 'multiclass'].measure}"
    value, labels = run.get(f"last.{metric}"), text(run.get("labels.sha256"))
    versions = [f"{name} {text(run.get(f'versions.{name}')) or 'unknown'}" for name in ("lilawbench", "torch")]
    shown = "-" if value is None or value != value else f"{value:.4f}"
    return f"{metric} {shown} (last), {', '.join(versions)}, labels {(labels or 'unknown')[:8]}"
