"""The report of a set of finished runs: tables, figures and the text that names their files."""

import html
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.record.identity import UNKNOWN_CLEAN
from lilawbench.report.collect import Unfinished, collect, unfinished
from lilawbench.report.groups import fairness_table
from lilawbench.report.method_plots import plot_corrector, plot_pruning
from lilawbench.report.names import measures, tasks, with_names
from lilawbench.report.page import page
from lilawbench.report.plots import plot_accuracy, plot_parameters
from lilawbench.report.ranks import plot_ranks, rankings
from lilawbench.report.tables import OWN_LOSS, Table, comparison_table
from lilawbench.support.atomic import write_atomic
from lilawbench.support.errors import UserError
from lilawbench.tasks import PLAIN_LOSSES, TASKS

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 10  # runs without a result that are named, of those that end alike
LEADING = ("best_val", "last")  # LiLAW's tables lead with best_val
PICTURES = {
    "accuracy.png": plot_accuracy,
    "parameters.png": plot_parameters,
    "pruning.png": plot_pruning,
    "corrector.png": plot_corrector,
    "ranks.png": plot_ranks,
}


def report(
    folders: str | Path | Iterable[str | Path],
    out_dir: str | Path,
    baseline: str | None = None,
    selections: Sequence[str] = LEADING,
    metric: str | None = None,
    skip_unreadable: bool = False,
) -> str:
    """Writes tables.md, .csv, .tex, .html, fairness.csv (runs with groups of people), and figures: accuracy.png,
    parameters.png (LiLAW runs), pruning.png (RRM and A-RRM runs), corrector.png (Dynamic Loss runs) and ranks.png
    (three methods or more over five cells or seeds) to out_dir. A file without runs is left out; an older one goes.

    Args:
        folders: run folders, or folders above them.
        out_dir: made if it is not there.
        baseline: the method label to compare with, or "loss" (see `comparison_table`); None: "loss" where a method
            wraps a loss that is not plain, else the plain loss ("ce", "bce", "squared"), else the first method.
        selections: the rules that pick the epoch, one table each, in this order. By default a rule that no
            run can follow (best_val without a validation set) is left out, with a note.
        metric: what the tables show, such as test_attacked_0.1_accuracy; None: of each task its own, test_accuracy,
            test_mAP or test_rmse.
        skip_unreadable: result files that are damaged or of another version are left out, with a note.
    Returns:
        The tables as Markdown, what is missing, and the paths of the files.
    Raises:
        UserError: no finished run, or runs that cannot be compared (see `comparison_table`).
        DataError: a folder is not there, or a file of a run is damaged.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    runs = collect(folders, skip_unreadable)
    missing = unfinished(folders, runs)
    if runs.empty:
        where = ", ".join(map(str, folders)) or "no folder"
        raise UserError("\n".join([f"no finished run (result.json) in or below {where}", *_missing(missing)]))
    tables, notes = {}, []
    for name in [metric] if metric else [f"test_{measure}" for measure in measures(runs)]:
        of = runs if metric else runs[[f"test_{TASKS[task].measure}" == name for task in tasks(runs)]]
        possible = [rule for rule in selections if _has(of, rule, name)]
        if not possible:
            possible = list(selections)  # comparison_table says what is wrong
        several = len(of) < len(runs)
        tables |= {
            f"{rule}, {name}" if several else rule: comparison_table(of, baseline or _baseline(of), rule, name)
            for rule in possible
        }
        notes += [f"No table at {rule}: no run has it." for rule in selections if rule not in possible]
    notes += [f"At {rule}: {ranking}" for rule, ranking in rankings(runs).items()]
    notes += _missing(missing)
    if unknown := _without_clean(runs):
        notes.append(f"{unknown} run(s) whose clean labels are unknown: {UNKNOWN_CLEAN}.")
    gaps = {f"{rule}, groups": table for rule in selections if (table := fairness_table(runs, rule)) is not None}

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    pictures = [file for name, plot in PICTURES.items() if (file := _picture(plot, runs, out_dir / name))]
    body = "\n".join([_markdown(tables | gaps), *(f"- {note}" for note in notes)] + [""] * bool(notes))
    contents = {
        "tables.md": body,
        "tables.csv": _csv(tables),
        "tables.tex": "\n".join(table.tex() for table in (tables | gaps).values()),
        "tables.html": _html(tables | gaps, notes, pictures),
    }
    if gaps:
        contents["fairness.csv"] = _csv(gaps)
    else:
        (out_dir / "fairness.csv").unlink(missing_ok=True)
    for name, content in contents.items():
        write_atomic(out_dir / name, content)
    paths = [*(out_dir / name for name in contents), *pictures]
    return "\n".join([body, "Files:", *(f"  {path}" for path in paths)])


def _baseline(runs: "DataFrame") -> str:
    methods = sorted(with_names(runs)["method"].unique())
    if any(" + " in method for method in methods):
        return OWN_LOSS
    return next((loss for loss in PLAIN_LOSSES if loss in methods), methods[0])


def _has(runs: "DataFrame", rule: str, metric: str) -> bool:
    column = f"{rule}.{metric}"
    return column in runs and bool(runs[column].notna().any())


def _without_clean(runs: "DataFrame") -> int:
    """How many runs had no clean labels to be measured by."""
    return int(runs["labels.clean_known"].eq(False).sum()) if "labels.clean_known" in runs else 0


def _missing(runs: list[Unfinished]) -> list[str]:
    """Runs without a result: a line each, and of many that end alike a line for all others."""
    alike: dict[tuple[str, str], list[Unfinished]] = {}
    for run in runs:
        alike.setdefault((run.state, run.reason), []).append(run)
    lines = []
    for (state, reason), group in alike.items():
        lines += [f"Not in the tables, {state}: {run.folder} ({reason})" for run in group[:SHOWN]]
        if len(group) > SHOWN:
            lines.append(f"Not in the tables, {state}: {len(group) - SHOWN} more ({reason})")
    return lines


def _picture(plot: Callable, runs: "DataFrame", path: Path) -> Path | None:
    """The path of the picture, or None if there is nothing to draw; then an older picture goes too."""
    if plot(runs, path) is None:
        path.unlink(missing_ok=True)
        return None
    return path


def _markdown(tables: dict[str, Table]) -> str:
    return "\n".join(f"### {rule}\n\n{table.markdown()}" for rule, table in tables.items())


def _csv(tables: dict[str, Table]) -> str:
    """All tables below each other; the column "select" tells them apart."""
    first, *others = [table.csv() for table in tables.values()]
    return first + "".join(other.split("\n", 1)[1] for other in others)


def _html(tables: dict[str, Table], notes: list[str], pictures: list[Path]) -> str:
    return page(
        "lilawbench: results",
        *(f"<h2>{rule}</h2>\n{table.html()}" for rule, table in tables.items()),
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        *(f'<img src="{os.path.basename(path)}" alt="{path.stem}">' for path in pictures),
    )
