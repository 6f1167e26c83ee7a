"""The cells of a paper's table: the finished runs of each, the published figure beside it, its comparison."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lilawbench.experiment.published import Figure
from lilawbench.record.identity import flatten, identity
from lilawbench.report.names import BOOKKEEPING, text
from lilawbench.report.stats import Comparison, holm, sample_std
from lilawbench.report.tables import SELECTIONS, compare_by_seed
from lilawbench.support.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

NOT_COMPARED = Comparison(0, None, None, None)


class Measured(NamedTuple):
    """A metric of a table: as its YAML writes it, the rule that picks the epoch, and its unit."""

    written: str  # "last.test_accuracy"
    metric: str  # "test_accuracy"
    rule: str  # "last"
    unit: str  # "%", "1", "rows" ...

    @property
    def scale(self) -> float:
        """From what result.json has to `unit`."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def digits(self) -> int:
        return {"%": 2, "rows": 0}.get(self.unit, 4)

    @property
    def title(self) -> str:
        unit = "" if self.unit == "1" else f" [{self.unit}]"
        return f"{self.metric.replace('_', ' ')}{unit}"


@dataclass
class Cell:
    """One row in one column by one metric; all values in its unit."""

    measured: Measured
    row: str
    column: str
    planned: int = 0  # runs, 0: nothing of it can be run here
    runs: list[dict[str, Any]] = field(default_factory=list)  # of each seed: seed, value, labels.sha256, folder, method
    conflicts: list[list[dict[str, Any]]] = field(default_factory=list)  # finished runs of one planned run
    valueless: int = 0  # finished runs without this metric
    figure: Figure | None = None
    baseline: str | None = None
    comparison: Comparison = NOT_COMPARED
    t_holm: float | None = None
    wilcoxon_holm: float | None = None

    @property
    def mean(self) -> float | None:
        return sum(run["value"] for run in self.runs) / len(self.runs) if self.runs else None

    @property
    def std(self) -> float | None:
        return sample_std([run["value"] for run in self.runs])

    @property
    def paper(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation as published."""
        if self.figure is None:
            return None, None
        factor = (0.01 if self.figure.unit == "%" else 1.0) * self.measured.scale
        return factor * self.figure.mean, None if self.figure.std is None else factor * self.figure.std


def measures_of(metrics: Iterable[str], select: str, figures: Sequence[Figure], always: str | None) -> list[Measured]:
    """The metrics of a table: "last.test_accuracy" has its rule, others follow `select`; `always` outdoes both.

    The unit is the paper's; where it prints none, accuracies are in percent.
    Raises:
        UserError: a rule that does not exist.
    """
    found = []
    for written in metrics:
        head, _, tail = written.partition(".")
        own, metric = (head, tail) if head in SELECTIONS else (None, written)
        rule = always or own or select
        if rule not in SELECTIONS:
            raise UserError(f"unknown selection {rule!r}; valid: {', '.join(SELECTIONS)}")
        units = [figure.unit for figure in figures if figure.metric == written]
        unit = "%" if "%" in units or (not units and metric.endswith("accuracy")) else next(iter(units), "1")
        found.append(Measured(written, metric, rule, unit))
    return found


def fill(
    placed: Sequence[tuple[Any, Sequence[int]]],
    runs: "DataFrame",
    measured: Measured,
    rows: Sequence[str],
    columns: Sequence[str],
    averages: Mapping[str, Sequence[str]],
    baselines: Mapping[str, str],
    figures: Sequence[Figure],
) -> list[Cell]:
    """All cells of one metric, columns one after the other, the rows of each together.

    Args:
        placed: the cells of a plan (a planned run in its row and column), each with its finished runs: rows of `runs`.
        rows, columns: names to show, in this order; an average stands among the columns.
        averages: column -> columns of which it is the mean, seed by seed; a seed that one of them lacks is left out.
    Raises:
        UserError: a cell has two planned runs of one seed, or a run and its baseline's have different labels.
    """
    values = _values(runs, measured)
    seeds, labels, folders = (_column(runs, name) for name in ("config.seed", "labels.sha256", "folder"))
    grid: dict[tuple[str, str], Cell] = {}
    first: dict[tuple[str, str, int], Any] = {}
    for planned, positions in placed:
        if (other := first.setdefault((planned.row, planned.column, planned.seed), planned)) is not planned:
            raise UserError(_two_settings(planned, other))
        cell = grid.setdefault((planned.row, planned.column), Cell(measured, planned.row, planned.column))
        cell.planned += 1
        records = [
            {
                "seed": seeds[at], "value": values[at], "labels.sha256": labels[at], "folder": folders[at],
                "method": planned.row,
            }
            for at in positions
        ]  # fmt: skip
        if len(records) > 1:
            cell.conflicts.append(records)
        elif records and records[0]["value"] is None:
            cell.valueless += 1
        else:
            cell.runs += records
    for name, parts in averages.items():
        for row in rows:
            if all((row, part) in grid for part in parts):
                grid[row, name] = _average(measured, row, name, [grid[row, part] for part in parts])
    for cell in grid.values():
        if cell.conflicts:
            cell.runs = []
    published = {(figure.row, figure.column): figure for figure in figures if figure.metric == measured.written}
    shown = []
    for column in columns:
        for row in rows:
            cell = grid.get((row, column)) or Cell(measured, row, column)
            cell.figure = published.get((row, column))
            base = grid.get((baselines.get(row, ""), column))
            if base is not None and base is not cell and measured.unit != "rows":
                cell.baseline = base.row
                cell.comparison = compare_by_seed(cell.runs, base.runs)
            shown.append(cell)
    return shown


def correct(cells: Sequence[Cell]) -> None:
    """Holm's correction over the comparisons of one table, per test, in place."""
    t_holm, wilcoxon_holm = (holm([getattr(cell.comparison, test) for cell in cells]) for test in ("t_p", "wilcoxon_p"))
    for cell, t, wilcoxon in zip(cells, t_holm, wilcoxon_holm, strict=True):
        cell.t_holm, cell.wilcoxon_holm = t, wilcoxon


def _average(measured: Measured, row: str, name: str, parts: Sequence[Cell]) -> Cell:
    """Seeds that all parts have; its labels are theirs, one after the other. None if a part is in conflict."""
    average = Cell(measured, row, name, planned=min(part.planned for part in parts))
    if any(part.conflicts for part in parts):
        return average
    by_seed = [{run["seed"]: run for run in part.runs} for part in parts]
    for seed in sorted(set.intersection(*map(set, by_seed))):
        runs = [part[seed] for part in by_seed]
        each = [run["labels.sha256"] for run in runs]
        average.runs.append(
            {
                "seed": seed,
                "value": sum(run["value"] for run in runs) / len(runs),
                "labels.sha256": None if None in each else " ".join(each),
                "folder": ", ".join(run["folder"] for run in runs),
                "method": row,
            }
        )
    return average


def _values(runs: "DataFrame", measured: Measured) -> list[float | None]:
    """Of every run, in the metric's unit. "fairness.DP.sex=Female" is in the rows of "best_val.fairness"."""
    values = _column(runs, f"{measured.rule}.{measured.metric}")
    kind, _, rest = measured.metric.partition(".")
    if kind == "fairness" and rest:
        name, _, of = rest.partition(".")
        place = tuple(of.split("=", 1))
        values = [
            next((row.get(name) for row in rows or () if (row["attribute"], row["group"]) == place), None)
            for rows in _column(runs, f"{measured.rule}.fairness")
        ]
    return [None if value is None or value != value else measured.scale * value for value in values]


def _column(runs: "DataFrame", name: str) -> list[Any]:
    """None where a run has no such value."""
    values = runs[name].tolist() if name in runs else [None] * len(runs)
    return [None if isinstance(value, float) and value != value else value for value in values]


def _two_settings(planned: Any, other: Any) -> str:
    ours, theirs = (flatten(identity(run.cfg), "config") for run in (planned, other))
    differing = [
        f"{leaf.removeprefix('config.')}={text(ours.get(leaf))} and {text(theirs.get(leaf))}"
        for leaf in sorted(ours.keys() | theirs.keys())
        if leaf not in BOOKKEEPING and ours.get(leaf) != theirs.get(leaf)
    ]
    return (
        f"two planned runs of seed {planned.seed} are in the cell {planned.row!r}, {planned.column!r}: they differ in "
        f"{', '.join(differing)}. Name one value on the command line, or give the table a row or a column for each."
    )
