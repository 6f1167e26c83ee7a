"""The cells of a table for one metric: all seeds of each, the published result, and the comparison."""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lilawbench.experiment.published import PublishedResult
from lilawbench.report.grid import Grid
from lilawbench.report.measured import Measured, column, values
from lilawbench.report.names import tasks, text
from lilawbench.report.stats import Comparison, compare_paired, holm, sample_std
from lilawbench.support.errors import UserError

NOT_COMPARED = Comparison(0, None, None, None)


class Run(NamedTuple):
    """A finished run in a cell, or the mean over the runs of one seed in an average."""

    row: str
    seed: int
    value: float  # NaN if it has none
    labels: str | None  # hash of its observed labels
    folder: str
    task: str
    at: int | None = None  # row number among the grid's runs
    idle: str = ""  # why its method never acted, see `Method.never_acts`


@dataclass
class Cell:
    """One row and column, for one metric."""

    measured: Measured
    row: str
    column: str
    planned: int = 0  # runs; 0 if none can be done here
    runs: list[Run] = field(default_factory=list)  # one of each seed
    conflicts: list[list[Run]] = field(default_factory=list)  # finished runs of one planned run
    valueless: int = 0  # finished runs without this metric
    published: PublishedResult | None = None
    baseline: str | None = None
    comparison: Comparison = NOT_COMPARED
    t_holm: float | None = None
    wilcoxon_holm: float | None = None

    @property
    def mean(self) -> float | None:
        return float(np.mean([run.value for run in self.runs])) if self.runs else None

    @property
    def std(self) -> float | None:
        return sample_std([run.value for run in self.runs])

    @property
    def idle(self) -> str:
        """What its method never did in some run of it, such as "never re-weighted"; "": it acted in all."""
        reasons = "; ".join(run.idle for run in self.runs if run.idle).split("; ")
        return " and ".join(dict.fromkeys(reason.partition(":")[0] for reason in reasons))

    @property
    def paper(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation as published, in the cell's unit."""
        if self.published is None:
            return None, None
        factor = (0.01 if self.published.unit == "%" else 1.0) * self.measured.factor
        return factor * self.published.mean, None if self.published.std is None else factor * self.published.std


def fill(grid: Grid, measured: Measured) -> list[Cell]:
    """All cells of a grid, column by column; not compared yet."""
    of_key = functools.cache(lambda key: values(grid.runs, measured._replace(metric=key)))
    labels, folders, idle = (column(grid.runs, name) for name in ("labels.sha256", "folder", "never_acts"))
    task_of = tasks(grid.runs).tolist()
    filled: dict[tuple[str, str], Cell] = {}
    for place in grid.places:
        cell = filled.setdefault((place.row, place.column), Cell(measured, place.row, place.column))
        cell.planned += 1
        found = of_key(place.keys.get(measured.written, measured.metric))
        runs = [
            Run(place.row, place.seed, found[at], text(labels[at]), folders[at], task_of[at], at, idle[at] or "")
            for at in place.finished
        ]
        if len(runs) > 1:
            cell.conflicts.append(runs)
        elif runs and math.isnan(runs[0].value):
            cell.valueless += 1
        else:
            cell.runs += runs
    for name, parts in grid.averages.items():
        for row in grid.rows:
            if all((row, part) in filled for part in parts):
                filled[row, name] = _average(measured, row, name, [filled[row, part] for part in parts])
    for cell in filled.values():
        if cell.conflicts:
            cell.runs = []
    results = {(one.row, one.column): one for one in grid.published if one.metric == measured.written}
    shown = []
    for name in grid.columns:
        for row in grid.rows:
            cell = filled.get((row, name)) or Cell(measured, row, name)
            cell.published = results.get((row, name))
            shown.append(cell)
    return shown


def compare(grid: Grid, cells: Sequence[Cell]) -> None:
    """Compares each cell with its baseline's, in place; Holm's correction is over all of them, per test.

    Raises: UserError, if a run and its baseline's have different labels.
    """
    there = {(cell.measured, cell.row, cell.column): cell for cell in cells if cell.planned}
    for cell in cells:
        base = there.get((cell.measured, grid.baselines.get((cell.row, cell.column), ""), cell.column))
        if base is not None and base is not cell and cell.measured.unit != "rows":
            cell.baseline = base.row
            cell.comparison = compare_by_seed(cell.runs, base.runs)
    t_holm, wilcoxon_holm = (holm([getattr(cell.comparison, test) for cell in cells]) for test in ("t_p", "wilcoxon_p"))
    for cell, t, wilcoxon in zip(cells, t_holm, wilcoxon_holm, strict=True):
        cell.t_holm, cell.wilcoxon_holm = t, wilcoxon


def compare_by_seed(ours: Iterable[Run], baseline: Iterable[Run]) -> Comparison:
    """Pairs the runs of two cells by seed; a cell has each seed once. A seed that one cell lacks is left out.

    Raises:
        UserError: two runs of a pair have different observed labels.
    """
    others = {run.seed: run for run in baseline}
    pairs = [(run, others[run.seed]) for run in sorted(ours, key=lambda run: run.seed) if run.seed in others]
    for run, other in pairs:
        if run.labels is None or run.labels != other.labels:
            raise UserError(
                f"not paired: seed {run.seed} has different observed labels (labels.sha256) in\n"
                f"  {run.folder} ({run.row})\n  {other.folder} ({other.row})\n"
                "Run one of them again with the same data and version of lilawbench as the other."
            )
    return compare_paired([run.value for run, _ in pairs], [other.value for _, other in pairs])


def _average(measured: Measured, row: str, name: str, parts: Sequence[Cell]) -> Cell:
    """The mean for each seed that all parts have, with their labels concatenated. None if a part has a conflict."""
    average = Cell(measured, row, name, planned=min(part.planned for part in parts))
    if any(part.conflicts for part in parts):
        return average
    by_seed = [{run.seed: run for run in part.runs} for part in parts]
    for seed in sorted(set.intersection(*map(set, by_seed))):
        runs = [part[seed] for part in by_seed]
        labels = [run.labels for run in runs if run.labels is not None]
        average.runs.append(
            Run(
                row,
                seed,
                sum(run.value for run in runs) / len(runs),
                " ".join(labels) if len(labels) == len(runs) else None,
                ", ".join(run.folder for run in runs),
                runs[0].task,
                idle="; ".join(dict.fromkeys(run.idle for run in runs if run.idle)),
            )
        )
    return average
