"""A paper's table as far as its runs are finished: ours, the paper's, the difference, and tests against the baseline.

plan + collected runs -> match (which run is which) -> cells -> tables -> md, tex, csv, html
"""

import html
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilawbench.experiment.published import FOLDER, TITLES, published
from lilawbench.record.writer import write_atomic
from lilawbench.report.cells import Cell, correct, fill, measures_of
from lilawbench.report.collect import collect, unfinished
from lilawbench.report.layout import laid_out
from lilawbench.report.match import Matches, match
from lilawbench.report.page import page
from lilawbench.report.ranks import Ranking, draw_ranks, ranking
from lilawbench.report.tables import Table
from lilawbench.support.errors import UserError, closest
from lilawbench.tasks import TASKS

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_NOTED = 10  # failed runs that are named


def paper_report(
    plan: Any,
    root: str | Path = "outputs",
    out_dir: str | Path | None = None,
    select: str | None = None,
    metric: str | None = None,
    figures: Path = FOLDER,
) -> str:
    """Writes <experiment>.md, .tex, .csv and .html of a planned experiment with a table.

    Args:
        plan: of sweep/plan.py. root: above the runs' folders. out_dir: None: <root>/<experiment_name>/report.
        select: the rule for all metrics; None: each metric's own, else the table's. metric: show this one only.
        figures: folder of the published figures.
    Returns:
        What is in the .md, and the paths of the files.
    Raises:
        UserError: see `fill`, `published`. DataError: a file of a run or of published figures is damaged.
    """
    import pandas as pd

    folders = [Path(root) / name for name in dict.fromkeys(run.cfg.experiment_name for run in plan.runs)]
    there = [folder for folder in folders if folder.is_dir()]
    runs = collect(there) if there else pd.DataFrame()
    tables = paper_tables(plan, runs, select, metric, figures)
    tables.notes.extend(_unfinished(plan, there))
    out_dir = folders[0] / "report" if out_dir is None else Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    body = tables.markdown()
    contents = {"md": body, "tex": tables.tex(), "csv": tables.csv(), "html": tables.html()}
    paths = [out_dir / f"{plan.name}.{suffix}" for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomic(path, content)
    picture = out_dir / f"{plan.name}_ranks.png"
    if draw_ranks(tables.ranks, picture) is None:
        picture.unlink(missing_ok=True)
    else:
        paths.append(picture)
    return "\n".join([body, "Files:", *(f"  {path}" for path in paths)])


@dataclass(frozen=True)
class PaperTables:
    """One table per metric; one for all metrics where the table has a single column."""

    title: str
    parts: list[tuple[str, Table | None, Table]]  # heading, overview (None: it would be too wide), all that is known
    notes: list[str]
    ranks: dict[str, Ranking]  # by selection rule, where there are enough rows and columns

    def markdown(self) -> str:
        blocks = [f"# {self.title}\n"]
        for heading, overview, table in self.parts:
            blocks += [f"## {heading}\n", *([overview.markdown()] if overview else []), table.markdown()]
        return "\n".join([*blocks, *(f"- {note}" for note in self.notes)] + [""] * bool(self.notes))

    def tex(self) -> str:
        return "\n".join(t.tex() for _, overview, table in self.parts for t in (overview, table) if t is not None)

    def csv(self) -> str:
        """All metrics below each other, unrounded, in the units that the column "unit" names."""
        texts = [table.csv() for _, _, table in self.parts]
        return "".join(texts[:1] + [text.split("\n", 1)[1] for text in texts[1:]])

    def html(self) -> str:
        blocks = [f"<h1>{html.escape(self.title)}</h1>"]
        for heading, overview, table in self.parts:
            blocks += [f"<h2>{html.escape(heading)}</h2>", *([overview.html()] if overview else []), table.html()]
        listed = [f"<li>{html.escape(note)}</li>" for note in self.notes]
        return page(self.title, *blocks, *(["<ul>", *listed, "</ul>"] if listed else []))


def paper_tables(
    plan: Any, runs: "DataFrame", select: str | None = None, metric: str | None = None, figures: Path = FOLDER
) -> PaperTables:
    """The tables of an experiment, from its plan and the finished runs found (see `paper_report`)."""
    table = plan.table
    known = published(table.paper, table.number, figures) if table.paper else []
    metrics = [name for name in table.metrics if name not in table.waiting]
    if metric is not None:
        if metric not in table.metrics:
            raise UserError(f"the table of {plan.name} has no metric {metric!r}; {closest(metric, table.metrics)}")
        metrics = [metric]
    matches = match(plan.runs, runs)
    positions = dict(zip((run.folder.name for run in plan.runs), matches.found, strict=True))
    placed = [(cell, positions[cell.folder.name]) for cell in plan.cells]
    rows, columns, averages = _shape(plan, [figure for figure in known if figure.metric in metrics])
    measured = measures_of(metrics, table.select, known, select)
    cells = [fill(placed, runs, one, rows, columns, averages, table.baselines, known) for one in measured]
    groups = [[*itertools.chain(*cells)]] if len(columns) == 1 else cells
    for group in groups:
        correct(group)
    name = f"{TITLES.get(table.paper, table.paper)}, Table {table.number}" if table.paper else plan.name
    parts = [laid_out(plan, name, group, runs, matches) for group in groups if group]
    ranks = _ranks(cell for group in groups for cell in group if cell.column not in averages)
    notes = [f"At {rule}, {found}" for rule, found in ranks.items()] + _notes(plan, runs, matches, groups)
    return PaperTables(f"{name} ({plan.name})" if table.paper else name, parts, notes, ranks)


def _ranks(cells: Iterable[Cell]) -> dict[str, Ranking]:
    """How the rows rank over the columns by what their task is judged by, for each selection rule."""
    import pandas as pd

    signs = {f"test_{task.measure}": 1 if task.maximise else -1 for task in TASKS.values()}
    scores: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if cell.measured.metric in signs:
            scores.setdefault(cell.measured.rule, []).extend(
                {"cell": cell.column, "method": cell.row, "seed": run["seed"],
                 "score": signs[cell.measured.metric] * run["value"]} for run in cell.runs
            )  # fmt: skip
    found = {rule: ranking(pd.DataFrame(rows)) for rule, rows in scores.items() if rows}
    return {rule: one for rule, one in found.items() if one is not None}


def _shape(plan: Any, known: Sequence[Any]) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Rows and columns to show, and the averages among these: the planned ones, then those that the paper alone has."""
    table = plan.table
    planned_rows, planned_columns = ({getattr(cell, kind) for cell in plan.cells} for kind in ("row", "column"))
    rows = [name for name in table.rows if name in planned_rows]
    rows += [figure.row for figure in known if figure.row not in table.rows]
    columns = [name for name in table.columns if name in planned_columns]
    averages = {name: list(parts) for name, parts in table.averages.items() if set(parts) <= planned_columns}
    others = [f.column for f in known if f.column not in table.columns and f.column not in table.averages]
    if table.shown is None:
        columns += [*averages, *others]
    else:
        columns = [name for name in table.shown if name in (*columns, *averages, *others)]
    return list(dict.fromkeys(rows)) or [""], list(dict.fromkeys(columns)) or [""], averages


def _notes(plan: Any, runs: "DataFrame", matches: Matches, groups: Sequence[Sequence[Cell]]) -> list[str]:
    """What the tables do not show: conflicts, runs that were left out and why, what waits."""
    conflicts: dict[tuple, dict[str, list[str]]] = {}
    empty: dict[str, int] = {}
    for cell in (cell for group in groups for cell in group):
        for records in cell.conflicts:
            place = conflicts.setdefault((cell.row, cell.column, records[0]["seed"]), {})
            for run in records:
                value = "-" if run["value"] is None else f"{run['value']:.{cell.measured.digits}f}"
                place.setdefault(run["folder"], []).append(f"{cell.measured.title} {value}")
        if cell.valueless:
            key = f"{cell.measured.rule}.{cell.measured.metric}"
            empty[key] = empty.get(key, 0) + cell.valueless
    notes = [
        f"Conflict: {len(found)} finished runs of {row}, {column}, seed {seed}; move away what shall not count: "
        + "; ".join(f"{folder} ({', '.join(values)})" for folder, values in found.items())
        for (row, column, seed), found in conflicts.items()
    ]
    notes += [f"{count} finished run(s) have no {key}." for key, count in empty.items()]
    near: dict[tuple[str, ...], list[str]] = {}
    for position, leaves in matches.near:
        near.setdefault(tuple(leaves), []).append(runs["folder"].iloc[position])
    notes += [
        f"Not in the table, {len(folders)} finished run(s) that have, or lack, {', '.join(leaves)}: {_first(folders)}"
        for leaves, folders in near.items()
    ]
    if matches.others:
        notes.append(f"{matches.others} other finished run(s) in the same folder are of no cell of this table.")
    return notes + [f"Waiting: {name}, for {reason}" for name, reason in plan.table.waiting.items()]


def _unfinished(plan: Any, folders: Sequence[Path]) -> list[str]:
    """The planned runs that failed or were broken off."""
    planned = {run.folder.name for run in plan.runs}
    found = [run for run in unfinished(folders) if run.folder.name in planned]
    told = [f"Not in the table, {run.state}: {run.folder} ({run.reason})" for run in found[:MOST_NOTED]]
    return told + [f"... and {len(found) - MOST_NOTED} more unfinished runs"] * (len(found) > MOST_NOTED)


def _first(folders: Sequence[str]) -> str:
    return ", ".join(folders[:3]) + f" and {len(folders) - 3} more" * (len(folders) > 3)
