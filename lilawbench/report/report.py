"""The report of finished runs: those of a folder, or of an experiment with a table. Both have the same layout.

collected runs (+ plan) -> grid -> cells -> sections -> document -> md, tex, csv, html, and figures
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.experiment.published import FOLDER
from lilawbench.report import grid as grids
from lilawbench.report import notes
from lilawbench.report.about import about, summary
from lilawbench.report.cells import fill
from lilawbench.report.collect import collect, unfinished
from lilawbench.report.compare import compare
from lilawbench.report.document import Document, Picture, Section, records_csv
from lilawbench.report.fairness import fairness_section
from lilawbench.report.figures import draw_all, draw_none, drawn
from lilawbench.report.figures.ranks import draw_ranks
from lilawbench.report.match import match
from lilawbench.report.measured import SELECTIONS, class_names, of_runs, whole_run
from lilawbench.report.names import measures, tasks, with_names
from lilawbench.report.pick import picked, picked_plan
from lilawbench.report.place import PAGE, chosen, place
from lilawbench.report.ranks import rankings
from lilawbench.report.repeated import with_unique_names
from lilawbench.report.rows import section
from lilawbench.report.suspected import suspected
from lilawbench.report.terminal import printed, screen
from lilawbench.support.atomic import write_atomic
from lilawbench.support.errors import UserError
from lilawbench.tasks import PLAIN_LOSSES, TASKS

if TYPE_CHECKING:
    from pandas import DataFrame

    from lilawbench.experiment.plan import Plan
    from lilawbench.report.ranks import Ranking

LEADING = ("best_val", "last")  # LiLAW's tables lead with best_val
MANY = 200  # runs of which a sweep's end draws the figures


def report(
    folders: str | Path | Iterable[str | Path],
    out_dir: str | Path | None,
    baseline: str | None = None,
    selections: Sequence[str] = LEADING,
    metric: str | None = None,
    pick: Sequence[str] = (),
    rope: float | None = None,
    whole: bool = False,
) -> str:
    """Writes report.html, tables.md, .csv, .tex, fairness.csv (for runs with groups) and the figures that the runs
    have values for (see figures/). A file that no run has data for is not written, and an older one is removed.

    Args:
        folders: run folders, or folders above them.
        out_dir: created if it does not exist; None: nothing is written or drawn.
        baseline: the method label to compare with, or "loss" (each method with plain training on its loss); None:
            "loss" where a method wraps another loss than the plain one, else the plain loss ("ce", "bce", "squared"),
            else the first method.
        selections: selection rules, a section each, in this order. A rule that no run can follow (best_val without a
            validation set) is left out, with a note.
        metric: what the tables show, such as test_attacked_0.1_accuracy; None: test_accuracy, test_mAP or test_rmse,
            by task.
        pick: hyper-parameters, such as "method.lr", of which only the best setting on validation rows is shown.
        rope: differences up to it count as none (see `compare`), in the tables' unit; None: not asked for.
        whole: every figure, and curves as SVG too. If not, as at the end of a sweep, no figure of more than MANY runs
            (of 800 they take over a minute); older ones are removed, and a note says how to have them.
    Returns:
        The tables for a terminal, what is missing, and the paths of the files; if nothing is written, all as Markdown.
    Raises:
        UserError: no finished run, or runs that cannot be compared (see `of_runs` and `compare`).
        DataError: a folder does not exist.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    runs = collect(folders)
    lacking = unfinished(folders, runs)
    missing = notes.left_out(lacking)
    if runs.empty:
        where = ", ".join(map(str, folders)) or "no folder"
        raise UserError("\n".join([f"no finished run (result.json) in or below {where}", *missing.notes]))
    runs, winners = picked(runs, pick) if pick else (runs, [])
    runs = with_unique_names(runs, pick)
    sections, remarks = _sections(runs, baseline, selections, metric, rope, pick)
    gaps = [gap for rule in selections if (gap := fairness_section(runs, rule)) is not None]
    ranks = _ranks(runs)
    remarks += winners + [f"At {rule}: {found}" for rule, found in ranks.items()]
    remarks += missing.notes + notes.unknown_clean(runs) + notes.clean_val(runs)
    if out_dir is None:
        return Document("lilawbench: results", sections + gaps, remarks).render("md")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    places = dict.fromkeys(Path(folder).parent for folder in runs["folder"])
    if whole or len(runs) <= MANY:
        pictures, damaged = draw_all(runs, out_dir, vectors=whole)
        remarks += notes.not_drawn(damaged)
    else:
        pictures = draw_none(out_dir)
        remarks.append(notes.undrawn(len(runs), places))
    pictures += _ranks_drawn(ranks, out_dir / "ranks.png")
    suspects = suspected(runs)
    details = [*([suspects] if suspects else []), *about(runs, lacking, places)]
    told = summary(runs, lacking)
    document = Document("lilawbench: results", sections + gaps, remarks, pictures, missing, told, details)
    if not gaps:
        (out_dir / "fairness.csv").unlink(missing_ok=True)
    (out_dir / "tables.html").unlink(missing_ok=True)  # of an earlier version
    tables = {"tables.csv": sections} | ({"fairness.csv": gaps} if gaps else {})
    return _written(out_dir, "tables", document, tables, PAGE)


def paper_report(
    plan: "Plan",
    root: str | Path = "outputs",
    out_dir: str | Path | None = None,
    select: str | None = None,
    metric: str | None = None,
    papers: Path = FOLDER,
    rope: float | None = None,
) -> str:
    """Writes <experiment>.md, .tex, .csv and .html of a planned experiment with a table.

    Args:
        plan: from experiment/plan.py. root: folder of all experiments.
        out_dir: None: <root>/<the experiment's own experiment_name>/report, and in it a folder of its own if overrides,
            `select`, `metric` or `rope` make it another table than the experiment's.
        select: the selection rule of all metrics; None: each metric's own, else the table's. metric: show only this.
        papers: folder of the published results. rope: as of `report`.
    Returns:
        The table for a terminal, and the paths of the files.
    Raises:
        UserError: see `of_plan` and `compare`. DataError: a file of published results is damaged.
    """
    import pandas as pd

    folders = [Path(root) / name for name in dict.fromkeys(run.cfg.experiment_name for run in plan.runs)]
    there = [folder for folder in folders if folder.is_dir()]
    runs = collect(there) if there else pd.DataFrame()
    matches = match(plan.runs, runs)
    plan, winners = picked_plan(plan, runs, matches.found) if plan.table.pick else (plan, [])
    grid, metrics = grids.of_plan(plan, runs, matches, select, metric, papers)
    metrics = [one._replace(classes=class_names(runs)) for one in metrics]
    of_metrics = [fill(grid, measured) for measured in metrics]
    every = [*itertools.chain(*of_metrics)]
    parts = (
        [every] if len(grid.columns) == 1 and every else of_metrics
    )  # a single column shows all metrics side by side
    for cells in parts:
        compare(grid, cells, rope)
    leading = [cell for cell in every if cell.measured.rule or cell.measured == metrics[0]]
    ranks = rankings(cell for cell in leading if cell.column not in grid.averages)
    planned = {run.folder.name for run in plan.runs}
    ranked = [f"{'At' if by in SELECTIONS else 'By'} {by}, {found}" for by, found in ranks.items()]
    missing = notes.left_out(
        [run for run in unfinished(there, runs) if run.folder.name in planned],
        notes.conflicts(every),
        *notes.unmatched(matches, runs),
    )
    remarks = winners + ranked + notes.idle(every)
    remarks += notes.without((cell.measured.key, cell.valueless) for cell in every) + notes.others(matches)
    remarks += plan.table.notes
    remarks += [f"Not available yet: {name}, which needs {reason}" for name, reason in plan.table.waiting.items()]
    remarks += missing.notes + notes.clean_val(runs.iloc[sorted({*itertools.chain(*matches.found)})])
    if out_dir is None:
        out_dir = place(Path(root) / plan.place, [*plan.asked, *chosen(select=select, metric=metric, rope=rope)])
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    pictures = _ranks_drawn(ranks, out_dir / f"{plan.name}_ranks.png")
    title = f"{grid.name} ({plan.name})" if plan.table.paper else grid.name
    document = Document(title, [section(grid, cells) for cells in parts if cells], remarks, pictures, missing)
    return _written(out_dir, plan.name, document, {f"{plan.name}.csv": document.sections}, f"{plan.name}.html")


def _sections(
    runs: "DataFrame",
    baseline: str | None,
    selections: Sequence[str],
    metric: str | None,
    rope: float | None,
    pick: Sequence[str],
) -> tuple[list[Section], list[str]]:
    """A section for each rule and task, and the notes."""
    sections, remarks = [], []
    for name in [metric] if metric else [f"test_{measure}" for measure in measures(runs)]:
        of_task = runs if metric else runs[[f"test_{TASKS[task].measure}" == name for task in tasks(runs)]]
        some = len(of_task) < len(runs)
        if some:
            of_task = with_names(of_task, pick)
        possible = [rule for rule in selections if _has(of_task, f"{rule}.{name}")] or list(selections)
        if _is_number(of_task, name):  # of the whole run, such as suspects_auroc_loss
            possible, selections = [""], []
        for rule in possible:
            measured = (of_runs(name, rule) if rule else whole_run(name))._replace(classes=class_names(of_task))
            grid = grids.of_runs(of_task, measured, baseline or _baseline(of_task))
            cells = fill(grid, measured)
            compare(grid, cells, rope)
            sections.append(section(grid, cells, f"{rule}, {name}" if rule and some else rule or name))
            remarks += [note for note in notes.idle(cells) if note not in remarks]
            remarks += notes.without([(measured.key, len(of_task) - len(grid.runs))])
        remarks += [f"No table at {rule}: no run has a value for it." for rule in selections if rule not in possible]
    return sections, remarks


def _baseline(runs: "DataFrame") -> str:
    methods = sorted(runs["method"].unique())
    if any(" + " in method for method in methods):
        return grids.OWN_LOSS
    return next((loss for loss in PLAIN_LOSSES if loss in methods), methods[0])


def _has(runs: "DataFrame", key: str) -> bool:
    return key in runs and bool(runs[key].notna().any())


def _is_number(runs: "DataFrame", key: str) -> bool:
    return _has(runs, key) and not key.startswith("config.") and runs[key].dtype.kind in "iuf"


def _ranks(runs: "DataFrame") -> "dict[str, Ranking]":
    """By the main metric of each task, whatever the tables show."""
    cells = []
    for rule, measure in itertools.product(LEADING, measures(runs)):
        measured = of_runs(f"test_{measure}", rule)
        if _has(runs, measured.key):
            cells += fill(grids.of_runs(runs, measured), measured)
    return rankings(cells)


def _ranks_drawn(ranks: "dict[str, Ranking]", path: Path) -> list[Picture]:
    shows = "Methods at their average ranks; a bar joins those that do not differ significantly."
    return [Picture(path, "Average ranks", shows)] if drawn(draw_ranks(ranks, path), path) else []


def _written(out_dir: Path, stem: str, document: Document, tables: dict[str, list[Section]], page: str) -> str:
    """Writes the document and its CSV files. Returns what the command prints."""
    body, tex, html = (document.render(suffix) for suffix in ("md", "tex", "html"))
    files = {f"{stem}.md": body} | {name: records_csv(sections) for name, sections in tables.items()}
    files |= {f"{stem}.tex": tex, page: html}
    for name, content in files.items():
        write_atomic(out_dir / name, content)
    said = printed(document, screen(), str(out_dir / f"{stem}.md"))
    names = [*files, *(picture.path.name for picture in document.figures)]
    return "\n".join([said, "Files:", *(f"  {out_dir / name}" for name in names)])
