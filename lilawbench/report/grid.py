"""Rows, columns and the runs in each cell of a table.

For an experiment they come from its plan; for a folder of runs from their configs: methods are rows, settings columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.experiment.published import FOLDER, TITLES, PublishedResult, published
from lilawbench.record.identity import flatten, identity
from lilawbench.report.match import Matches
from lilawbench.report.measured import Measured, of_table, values
from lilawbench.report.names import BOOKKEEPING, natural, text
from lilawbench.support.errors import UserError, closest

if TYPE_CHECKING:
    from pandas import DataFrame

    from lilawbench.experiment.plan import Plan, Planned

OWN_LOSS = "loss"  # as baseline: each method is compared with plain training on its own loss


class Place(NamedTuple):
    """A run's place in the table. `finished`: row numbers of its finished runs: none, one, or several (a conflict)."""

    row: str
    column: str
    seed: int
    finished: list[int]
    keys: Mapping[str, str] = {}  # metric: its key in result.json, where it has one of its own in this cell


class Planning(NamedTuple):
    """The plan of a grid, and the finished runs of it."""

    plan: "Plan"
    matches: Matches


@dataclass(frozen=True)
class Grid:
    """Rows and columns are names, in the order in which they are shown."""

    name: str  # captions begin with it
    rows: list[str]
    columns: list[str]  # averages are among them
    places: list[Place]
    runs: "DataFrame" = field(repr=False)
    baselines: dict[tuple[str, str], str] = field(default_factory=dict)  # row and column -> the row to compare with
    against: str = ""  # what rows are compared with, where one name covers several baselines
    averages: dict[str, list[str]] = field(default_factory=dict)  # column -> the columns it is the mean of
    published: list[PublishedResult] = field(default_factory=list)
    planned: "Planning | None" = field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, str]:
        """What rows and columns stand for."""
        return ("row", "column") if self.planned else ("method", "setting")


def of_runs(runs: "DataFrame", measured: Measured, baseline: str | None = None) -> Grid:
    """Methods x settings of the runs that have the metric.

    Args:
        runs: named, from `with_unique_names`.
        baseline: the method to compare with; OWN_LOSS: "rrm + mse" is compared with "mse", "rrm" with "ce".
    Raises:
        UserError: no run has the metric, or the baseline has no run.
    """
    methods = sorted(runs["method"].unique(), key=lambda label: (label != baseline, label))
    if baseline not in (None, OWN_LOSS, *methods):
        raise UserError(f"no finished run of the baseline {baseline!r}; methods found: {', '.join(methods)}")
    runs = runs[[not math.isnan(value) for value in values(runs, measured)]]
    if runs.empty:
        raise UserError(f"no finished run has {measured.key}; try another selection rule or metric")
    places = [
        Place(row, column, seed, [at])
        for at, (row, column, seed) in enumerate(zip(runs["method"], runs["setting"], runs["config.seed"]))
    ]
    places.sort(key=lambda place: place.seed)
    bases: dict[tuple[str, str], str] = {}
    if baseline is not None:
        losses = runs["config.loss.name"] if baseline == OWN_LOSS else [baseline] * len(runs)
        bases = {(row, column): base for row, column, base in zip(runs["method"], runs["setting"], losses)}
    return Grid(
        _common(sorted(runs["scene"].unique(), key=natural)),
        methods,
        sorted(runs["setting"].unique(), key=natural),
        places,
        runs,
        {place: base for place, base in bases.items() if base in methods and base != place[0]},
        "its loss" if baseline == OWN_LOSS else "",
    )


def of_plan(
    plan: "Plan",
    runs: "DataFrame",
    matches: Matches,
    select: str | None = None,
    metric: str | None = None,
    papers: Path = FOLDER,
) -> tuple[Grid, list[Measured]]:
    """The table of an experiment, and its metrics.

    Args:
        runs: from `collect`. matches: which of them are the plan's, from `match`.
        select: the selection rule of all metrics; None: each metric's own, else the table's.
        metric: show only this, one of the table's or another that its runs have. papers: folder of the published
            results.
    Raises:
        UserError: there is no such metric, or two planned runs of one seed share a cell; see `published`.
    """
    table = plan.table
    known = published(table.paper, table.number, papers) if table.paper else []
    metrics = [name for name in table.metrics if name not in table.waiting]
    if metric is not None:
        own = any(name.endswith(f".{metric}") for name in table.metrics)  # with a rule of its own
        if metric not in table.metrics and (own or not any(key.endswith(f".{metric}") for key in runs)):
            raise UserError(f"the table of {plan.name} has no metric {metric!r}; {closest(metric, table.metrics)}")
        metrics = [metric]
    finished = dict(zip((run.folder.name for run in plan.runs), matches.found, strict=True))
    _refuse_two_settings(plan.cells)
    rows, columns, averages = _shape(plan, [one for one in known if one.metric in metrics])
    grid = Grid(
        f"{TITLES.get(table.paper, table.paper)}, Table {table.number}" if table.paper else plan.name,
        rows,
        columns,
        [Place(cell.row, cell.column, cell.seed, finished[cell.folder.name], _keys(cell)) for cell in plan.cells],
        runs,
        {(row, column): base for row, base in table.baselines.items() for column in columns},
        averages=averages,
        published=known,
        planned=Planning(plan, matches),
    )
    return grid, of_table(metrics, table.select, known, select, table.result_keys)


def _keys(cell: "Planned") -> dict[str, str]:
    table = cell.cfg.table
    try:
        return {metric: key.format(score=table.score, epoch=table.epoch) for metric, key in table.result_keys.items()}
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"table.result_keys: {error}: only {{score}} and {{epoch}} are put into a key") from None


def _common(scenes: list[str]) -> str:
    """ "digits, mlp, 3 settings"."""
    if len(scenes) == 1:
        return scenes[0]
    shared = [part for part in scenes[0].split(", ") if all(part in scene.split(", ") for scene in scenes)]
    return ", ".join([*shared, f"{len(scenes)} settings"])


def _shape(plan: "Plan", known: Sequence[PublishedResult]) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Rows and columns to show, and the averages among them: the planned ones, then those that only the paper has."""
    table = plan.table
    planned_rows, planned_columns = ({getattr(cell, kind) for cell in plan.cells} for kind in ("row", "column"))
    rows = [name for name in table.rows if name in planned_rows]
    rows += [one.row for one in known if one.row not in table.rows]
    columns = [name for name in table.columns if name in planned_columns]
    averages = {name: list(parts) for name, parts in table.averages.items() if set(parts) <= planned_columns}
    others = [f.column for f in known if f.column not in table.columns and f.column not in table.averages]
    if table.shown is None:
        columns += [*averages, *others]
    else:
        columns = [name for name in table.shown if name in (*columns, *averages, *others)]
    return list(dict.fromkeys(rows)) or [""], list(dict.fromkeys(columns)) or [""], averages


def _refuse_two_settings(cells: "Sequence[Planned]") -> None:
    first: dict[tuple[str, str, int], Planned] = {}
    for run in cells:
        if (other := first.setdefault((run.row, run.column, run.seed), run)) is run:
            continue
        ours, theirs = (flatten(identity(one.cfg), "config") for one in (run, other))
        differing = [
            f"{leaf.removeprefix('config.')}={text(ours.get(leaf))} and {text(theirs.get(leaf))}"
            for leaf in sorted(ours.keys() | theirs.keys())
            if leaf not in BOOKKEEPING and ours.get(leaf) != theirs.get(leaf)
        ]
        raise UserError(
            f"two planned runs of seed {run.seed} are in the cell {run.row!r}, {run.column!r}: they differ in "
            f"{', '.join(differing)}. Choose one value on the command line, or give the table a row or column for each."
        )
