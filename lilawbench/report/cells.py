"""The cells of a table for one metric: all seeds of each, the published result, and what compare.py adds."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lilawbench.experiment.published import PublishedResult
from lilawbench.report.grid import Grid
from lilawbench.report.measured import Measured, column, values
from lilawbench.report.names import tasks, text
from lilawbench.report.stats import ALPHA, NOT_COMPARED, Comparison, Equivalence, sample_std, t_interval


class Run(NamedTuple):
    """A finished run in a cell, or the mean over the runs of one seed in an average."""

    row: str
    seed: int
    value: float  # NaN if it has none
    labels: str | None  # hash of its observed labels
    folder: str
    task: str
    at: int | None = None  # row number among the grid's runs
    idle: str = ""  # why its method had not acted by the epoch that counts, see `Method.never_acts`
    told: str = ""  # how it was told how noisy the labels are, see `Method.told`
    cost: float | None = None  # see probes/cost.py


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
    differences: dict[int, float] = field(default_factory=dict)  # by seed, to the baseline
    p_t_holm: float | None = None
    p_wilcoxon_holm: float | None = None
    equivalence: Equivalence | None = None  # if asked for
    best: bool = False  # has the best mean of its column
    to_best: Comparison = NOT_COMPARED  # with the best of its column, by the t-test alone
    p_best_holm: float | None = None  # of that test, after Holm

    @property
    def mean(self) -> float | None:
        return float(np.mean([run.value for run in self.runs])) if self.runs else None

    @property
    def std(self) -> float | None:
        return sample_std([run.value for run in self.runs])

    @property
    def idle(self) -> str:
        """What its method had not done by the epoch that counts, such as "never re-weighted in some runs"; "": none."""
        said = [run.idle for run in self.runs if run.idle]
        some = " in some runs" * (0 < len(said) < len(self.runs))
        return " and ".join(dict.fromkeys(one.partition(":")[0] for one in "; ".join(said).split("; "))) + some

    @property
    def told(self) -> str:
        """By which options some run of it was told how noisy the labels are; "": none was."""
        return " and ".join(dict.fromkeys(run.told for run in self.runs if run.told))

    @property
    def cost(self) -> float | None:
        """Of training, in that of plain training; None: there is no run, or one from a version that counts none."""
        costs = [run.cost for run in self.runs if run.cost is not None]
        return float(np.mean(costs)) if costs and len(costs) == len(self.runs) else None

    @property
    def level(self) -> bool:
        """Whether it was tested against the best of its column, and no test tells the two apart."""
        return self.p_best_holm is not None and self.p_best_holm >= ALPHA

    @property
    def bold(self) -> bool:
        return self.best or self.level

    @property
    def paper(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation as published, in the cell's unit."""
        if self.published is None:
            return None, None
        factor = (0.01 if self.published.unit == "%" else 1.0) * self.measured.factor
        return factor * self.published.mean, None if self.published.std is None else factor * self.published.std

    @property
    def to_paper(self) -> float | None:
        """Ours - the paper's, in the cell's unit."""
        paper, _ = self.paper
        return None if self.mean is None or paper is None else self.mean - paper

    @property
    def to_paper_ci(self) -> tuple[float, float] | None:
        """95 % interval of it by our seeds: papers seldom say of how many seeds their figures are."""
        paper, _ = self.paper
        return None if paper is None else t_interval(np.round([run.value - paper for run in self.runs], 12))


def fill(grid: Grid, measured: Measured) -> list[Cell]:
    """All cells of a grid, column by column; not compared yet."""
    of_key = functools.cache(lambda key: values(grid.runs, measured._replace(metric=key)))
    names = ("labels.sha256", "folder", "told", "cost_ce")
    labels, folders, told, costs = (column(grid.runs, name) for name in names)
    idle = _idle(grid, measured.rule)
    task_of = tasks(grid.runs).tolist()

    def run_at(row: str, seed: int, at: int, value: float) -> Run:
        said = idle[at], told[at] or ""
        return Run(row, seed, value, text(labels[at]), folders[at], task_of[at], at, *said, costs[at])

    filled: dict[tuple[str, str], Cell] = {}
    for place in grid.places:
        cell = filled.setdefault((place.row, place.column), Cell(measured, place.row, place.column))
        cell.planned += 1
        found = of_key(place.keys.get(measured.written, measured.metric))
        runs = [run_at(place.row, place.seed, at, found[at]) for at in place.finished]
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


def _idle(grid: Grid, rule: str) -> list[str]:
    """Of each run why its method had not acted by the epoch that the rule chose; "": it had."""
    names = ("never_acts", "idle_epochs", "idle_reason", f"{rule}.epoch")
    found = []
    for never, epochs, reason, chosen in zip(*(column(grid.runs, name) for name in names)):
        early = epochs is not None and chosen is not None and chosen <= epochs
        by = f" by the epoch of {rule}"
        found.append(never or ("; ".join(_dated(one, by) for one in reason.split("; ")) if early else ""))
    return found


def _dated(reason: str, by: str) -> str:
    """ "never re-weighted by the epoch of best_val: ..."."""
    what, _, why = reason.partition(":")
    return f"{what}{by}:{why}"


def _average(measured: Measured, row: str, name: str, parts: Sequence[Cell]) -> Cell:
    """The mean for each seed that all parts have, with their labels concatenated. None if a part has a conflict."""
    average = Cell(measured, row, name, planned=min(part.planned for part in parts))
    if any(part.conflicts for part in parts):
        return average
    by_seed = [{run.seed: run for run in part.runs} for part in parts]
    for seed in sorted(set.intersection(*map(set, by_seed))):
        runs = [part[seed] for part in by_seed]
        labels = [run.labels for run in runs if run.labels is not None]
        costs = [run.cost for run in runs if run.cost is not None]
        average.runs.append(
            Run(
                row,
                seed,
                sum(run.value for run in runs) / len(runs),
                " ".join(labels) if len(labels) == len(runs) else None,
                ", ".join(run.folder for run in runs),
                runs[0].task,
                idle="; ".join(dict.fromkeys(run.idle for run in runs if run.idle)),
                told="; ".join(dict.fromkeys(run.told for run in runs if run.told)),
                cost=sum(costs) / len(costs) if len(costs) == len(runs) else None,
            )
        )
    return average
