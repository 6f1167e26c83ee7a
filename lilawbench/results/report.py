"""The report of a set of finished runs: tables, figures and the text that names their files."""

import html
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.errors import UserError
from lilawbench.results.collect import Unfinished, collect, unfinished, with_names
from lilawbench.results.method_plots import plot_corrector, plot_pruning
from lilawbench.results.plots import plot_accuracy, plot_parameters
from lilawbench.results.record import UNKNOWN_CLEAN
from lilawbench.results.tables import OWN_LOSS, Table, comparison_table
from lilawbench.results.writer import write_atomic

if TYPE_CHECKING:
    from pandas import DataFrame

LEADING = ("best_val", "last")  # LiLAW's tables lead with best_val
PICTURES = {
    "accuracy.png": plot_accuracy,
    "parameters.png": plot_parameters,
    "pruning.png": plot_pruning,
    "corrector.png": plot_corrector,
}


def report(
    folders: str | Path | Iterable[str | Path],
    out_dir: str | Path,
    baseline: str | None = None,
    selections: Sequence[str] = LEADING,
    metric: str = "test_accuracy",
) -> str:
    """Writes tables.md, .csv, .tex, .html, and figures: accuracy.png, parameters.png (LiLAW runs), pruning.png (RRM and
    A-RRM runs) and corrector.png (Dynamic Loss runs) to out_dir. A figure without runs is left out; an older one goes.

    Args:
        folders: run folders, or folders above them.
        out_dir: made if it is not there.
        baseline: the method label to compare with, or "loss" (see `comparison_table`); None: "loss" where a method
            wraps another loss than ce, else "ce" if it is there, else the first method.
        selections: the rules that pick the epoch, one table each, in this order. By default a rule that no
            run can follow (best_val without a validation set) is left out, with a note.
        metric: what the tables show, such as test_attacked_0.1_accuracy.
    Returns:
        The tables as Markdown, what is missing, and the paths of the files.
    Raises:
        UserError: no finished run, or runs that cannot be compared (see `comparison_table`).
        DataError: a folder is not there, or a file of a run is damaged.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    runs, missing = collect(folders), unfinished(folders)
    if runs.empty:
        where = ", ".join(map(str, folders)) or "no folder"
        raise UserError("\n".join([f"no finished run (result.json) in or below {where}", *_missing(missing)]))
    methods = sorted(with_names(runs)["method"].unique())
    if baseline is None:
        baseline = "ce" if "ce" in methods else methods[0]
        if any(" + " in method for method in methods):
            baseline = OWN_LOSS
    possible = [rule for rule in selections if _has(runs, rule, metric)]
    if not possible:
        possible = list(selections)  # comparison_table says what is wrong
    tables = {rule: comparison_table(runs, baseline, rule, metric) for rule in possible}
    notes = [f"No table at {rule}: no run has it." for rule in selections if rule not in possible] + _missing(missing)
    if unknown := _without_clean(runs):
        notes.append(f"{unknown} run(s) whose clean labels are unknown: {UNKNOWN_CLEAN}.")

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    pictures = [file for name, plot in PICTURES.items() if (file := _picture(plot, runs, out_dir / name))]
    body = "\n".join([_markdown(tables), *(f"- {note}" for note in notes)] + [""] * bool(notes))
    contents = {
        "tables.md": body,
        "tables.csv": _csv(tables),
        "tables.tex": "\n".join(table.tex() for table in tables.values()),
        "tables.html": _html(tables, notes, pictures),
    }
    for name, content in contents.items():
        write_atomic(out_dir / name, content)
    paths = [*(out_dir / name for name in contents), *pictures]
    return "\n".join([body, "Files:", *(f"  {path}" for path in paths)])


def _has(runs: "DataFrame", rule: str, metric: str) -> bool:
    column = f"{rule}.{metric}"
    return column in runs and bool(runs[column].notna().any())


def _without_clean(runs: "DataFrame") -> int:
    """How many runs had no clean labels to be measured by."""
    return int(runs["labels.clean_known"].eq(False).sum()) if "labels.clean_known" in runs else 0


def _missing(runs: list[Unfinished]) -> list[str]:
    """Runs without a result: one line each."""
    return [f"Not in the tables, {run.state}: {run.folder} ({run.reason})" for run in runs]


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
    style = (
        "body { font: 16px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em } "
        "caption { text-align: left; padding-bottom: .5em } table { border-collapse: collapse; margin: 1em 0 } "
        "th, td { padding: .3em .8em; border-bottom: 1px solid #ccc } img { max-width: 100% }"
    )
    return "\n".join(
        ["<!doctype html>", '<html lang="en">', '<meta charset="utf-8">', "<title>lilawbench: results</title>"]
        + [f"<style>{style}</style>"]
        + [f"<h2>{rule}</h2>\n{table.html()}" for rule, table in tables.items()]
        + [f"<p>{html.escape(note)}</p>" for note in notes]
        + [f'<img src="{os.path.basename(path)}" alt="{path.stem}">' for path in pictures]
        + ["</html>", ""]
    )
