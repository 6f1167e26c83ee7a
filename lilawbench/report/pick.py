"""The winner of a grid: of settings that differ in hyper-parameters alone, the best on validation, never on test."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lilawbench.record.identity import flatten
from lilawbench.report.names import below, text, with_names
from lilawbench.support.errors import UserError
from lilawbench.tasks import TASKS

if TYPE_CHECKING:
    from pandas import DataFrame

    from lilawbench.experiment.plan import Plan


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
    own = _leaves(keys, list(runs))
    named = with_names(runs, keys)
    grids: dict[str, dict[str, list[int]]] = {}
    for at, (method, scene, *values) in enumerate(zip(*(named[name] for name in ("method", "scene", *own)))):
        of_grid = grids.setdefault(f"{method}, {scene}", {})
        of_grid.setdefault(_shown(own, list(map(text, values))), []).append(at)
    kept, notes = [], []
    for grid, settings in grids.items():
        winner, note = _best(runs, settings, grid)
        kept += settings[winner]
        notes += [note] if len(settings) > 1 else []
    return runs.iloc[sorted(kept)], notes


def picked_plan(plan: "Plan", runs: "DataFrame", found: Sequence[Sequence[int]]) -> tuple["Plan", list[str]]:
    """A plan that has in each cell the winner of `table.pick` among the cell's own settings, by the cell's own runs.

    Rows may differ in nothing but a picked key, so each is a grid of its own. A cell without a finished run keeps its
    first setting.

    Args:
        runs: from `collect`. found: row numbers of the finished runs of each planned run (`match`).
    Returns:
        The plan, and a sentence for each cell in which several settings have finished runs.
    Raises:
        UserError: see `picked`.
    """
    finished = dict(zip((run.folder.name for run in plan.runs), found, strict=True))
    configs = [flatten(cell.cfg, "config") for cell in plan.cells]
    own = _leaves(plan.table.pick, dict.fromkeys(itertools.chain(*configs)))
    shown = [_shown(own, [text(config.get(name)) for name in own]) for config in configs]
    grids: dict[tuple[str, str], dict[str, list[int]]] = {}
    for cell, setting in zip(plan.cells, shown):
        of_cell = grids.setdefault((cell.row, cell.column), {})
        of_cell.setdefault(setting, []).extend(finished[cell.folder.name])
    chosen, notes = {}, []
    for place, settings in grids.items():
        done = {setting: rows for setting, rows in settings.items() if rows}
        chosen[place] = next(iter(settings))
        if done and len(settings) > 1:
            chosen[place], note = _best(runs, done, ", ".join(filter(None, place)) or plan.name)
            notes += [note] if len(done) > 1 else []
    cells = [cell for cell, setting in zip(plan.cells, shown) if setting == chosen[cell.row, cell.column]]
    return replace(plan, cells=cells), notes


def _best(runs: "DataFrame", settings: dict[str, list[int]], where: str) -> tuple[str, str]:
    """The best of some settings, by what is shown of them, and a sentence that says so, and where."""
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
    scores = ", ".join(f"{shown}: {'-' if mean is None else f'{mean:.4f}'}" for shown, mean in means.items())
    return best, f"Picked on validation (select_by: val) for {where}: {best}. Mean {key} of each: {scores}."


def _leaves(keys: Sequence[str], names: Collection[str]) -> list[str]:
    """Those of some leaves that are at or below the keys. Raises: UserError, none is at or below one of them."""
    found = {key: [name for name in names if below(name, (f"config.{key}",))] for key in keys}
    if missing := [key for key, leaves in found.items() if not leaves]:
        raise UserError(f"pick: no run has {', '.join(missing)}")
    return [*itertools.chain(*found.values())]


def _shown(leaves: Sequence[str], values: Sequence[str | None]) -> str:
    """ "method.lr=0.1, train.lr=0.3"; a leaf that a run lacks is left out."""
    return ", ".join(f"{leaf.removeprefix('config.')}={value}" for leaf, value in zip(leaves, values) if value)
