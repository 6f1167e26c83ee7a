"""The winner of a grid: of settings that differ in hyper-parameters alone, the best on validation, never on test."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lilawbench.record.identity import flatten, recorded
from lilawbench.report.names import below, tells_apart, text
from lilawbench.support.errors import UserError
from lilawbench.tasks import TASKS

if TYPE_CHECKING:
    from pandas import DataFrame

    from lilawbench.experiment.plan import Plan, Planned


def picked(runs: "DataFrame", keys: Sequence[str]) -> tuple["DataFrame", list[str]]:
    """Drops the runs of all settings but the best one of each grid.

    A setting is judged by the mean of best_val.val_accuracy (mAP, RMSE) over the seeds that its whole grid has.

    Args:
        runs: from `collect`. keys: the hyper-parameters, such as "method.lr".
    Returns:
        The runs that are left, and a sentence for each grid.
    Raises:
        UserError: no run has such a key, or a run has no validation rows.
    """
    columns = [f"config.{key}" for key in keys]
    if missing := [key for key, column in zip(keys, columns) if not any(below(name, (column,)) for name in runs)]:
        raise UserError(f"pick: no run has {', '.join(missing)}")
    own = [name for column in columns for name in runs if below(name, (column,))]
    others = [name for name in runs if tells_apart(name) and name not in own]
    grids: dict[tuple, dict[str, list[int]]] = {}
    of_runs = [[list(map(text, values)) for values in zip(*(runs[n] for n in part))] for part in (others, own)]
    for at, (rest, values) in enumerate(zip(*of_runs)):
        shown = ", ".join(f"{name.removeprefix('config.')}={value}" for name, value in zip(own, values) if value)
        grids.setdefault(tuple(rest), {}).setdefault(shown, []).append(at)
    kept, notes = [], []
    for settings in grids.values():
        winner, note = _best(runs, settings)
        kept += settings[winner]
        notes += [note] if len(settings) > 1 else []
    return runs.iloc[sorted(kept)], notes


def picked_plan(plan: "Plan", runs: "DataFrame", found: Sequence[Sequence[int]]) -> tuple["Plan", list[str]]:
    """A plan whose cells have the winners of `table.pick` alone; a cell of which no run has finished keeps its first.

    Args:
        runs: from `collect`. found: row numbers of the finished runs of each planned run (`match`).
    """
    keys = plan.table.pick
    done = sorted({at for positions in found for at in positions})
    winners, notes = picked(runs.iloc[done], keys) if done else (runs, [])
    names = set(winners["run"]) if done else set()
    of_run = {run.folder: {runs["run"].iloc[at] for at in positions} for run, positions in zip(plan.runs, found)}
    chosen: dict[tuple[str, str], list[str | None]] = {}
    for cell in plan.cells:
        if of_run[cell.folder] & names:
            chosen[cell.row, cell.column] = _values(cell, keys)
    for cell in plan.cells:
        chosen.setdefault((cell.row, cell.column), _values(cell, keys))
    cells = [cell for cell in plan.cells if _values(cell, keys) == chosen[cell.row, cell.column]]
    return replace(plan, cells=cells), notes


def _best(runs: "DataFrame", settings: dict[str, list[int]]) -> tuple[str, str]:
    """The best of some settings, by what is shown of them, and a sentence that says so."""
    first = runs.iloc[next(iter(settings.values()))[0]]
    task = TASKS[text(first.get("task")) or "multiclass"]
    key = f"best_val.val_{task.measure}"
    if key not in runs:
        raise UserError(f"pick: no run has {key}: winners are picked on validation rows alone (split.val_fraction > 0)")
    seeds = [set(runs["config.seed"].iloc[rows]) for rows in settings.values()]
    shared = set.intersection(*seeds) or set.union(*seeds)
    means = {}
    for shown, rows in settings.items():
        values = [value for seed, value in zip(runs["config.seed"].iloc[rows], runs[key].iloc[rows]) if seed in shared]
        known = [value for value in values if value is not None and value == value]
        means[shown] = sum(known) / len(known) if known and len(known) == len(values) else None
    known_means = {shown: mean for shown, mean in means.items() if mean is not None}
    if not known_means:
        raise UserError(
            f"pick: {first['folder']} and others have no {key}: winners are picked on validation rows alone"
        )
    best = (max if task.maximise else min)(known_means, key=lambda shown: known_means[shown])
    where = ", ".join(str(first[f"config.{group}.name"]) for group in ("method", "dataset", "noise"))
    where = " ".join(filter(None, (where, text(first.get("config.noise.rate")))))
    scores = ", ".join(f"{shown}: {'-' if mean is None else f'{mean:.4f}'}" for shown, mean in means.items())
    return best, f"Picked on validation (select_by: val) for {where}: {best}. Mean {key} of each: {scores}."


def _values(run: "Planned", keys: Sequence[str]) -> list[str | None]:
    leaves = flatten(recorded(run.cfg), "config")
    return [text(leaves[name]) for name in leaves if below(name, tuple(f"config.{key}" for key in keys))]
