"""The figures of a report, a file each, drawn for the runs whose metrics have the values.

`plot(runs, path)` writes the picture, or returns None if no run has them. `ranks` is drawn from the tables' cells.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.collect import read_metrics
from lilawbench.report.figures.accuracy import plot_accuracy
from lilawbench.report.figures.corrector import last_tables, plot_corrector
from lilawbench.report.figures.pruning import plot_pruning
from lilawbench.report.figures.reliability import plot_reliability
from lilawbench.report.figures.traces import plot_traces
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

FIGURES = {
    "accuracy.png": plot_accuracy,
    "parameters.png": plot_traces,
    "pruning.png": plot_pruning,
    "corrector.png": plot_corrector,
    "reliability.png": plot_reliability,
}


def draw_all(runs: "DataFrame", out_dir: Path) -> tuple[list[str], dict[str, str]]:
    """Draws every figure that the runs have values for.

    Returns:
        Names of the files; and the folders of runs that are in none, since their metrics.jsonl or labels.npz is
        damaged, with the reason.
    """
    try:
        return _draw(runs, out_dir), {}
    except DataError:
        reasons = [_damage(runs.iloc[[number]]) for number in range(len(runs))]
        if not any(reasons):
            raise
        damaged = {folder: reason for folder, reason in zip(runs["folder"], reasons) if reason}
        return _draw(runs[[not reason for reason in reasons]], out_dir), damaged


def drawn(figure: object, path: Path) -> bool:
    """Whether the figure was drawn; if not, an older file is removed."""
    if figure is None:
        path.unlink(missing_ok=True)
    return figure is not None


def _draw(runs: "DataFrame", out_dir: Path) -> list[str]:
    figures = FIGURES.items()
    return [name for name, plot in figures if drawn(None if runs.empty else plot(runs, out_dir / name), out_dir / name)]


def _damage(run: "DataFrame") -> str:
    """What is wrong with the files of one run; "" if nothing is."""
    try:
        folder = run["folder"].iloc[0]
        epochs, _ = read_metrics(folder, "epoch"), read_metrics(folder, "step")
        last_tables(run)
    except DataError as error:
        return str(error)
    return "" if any(name.startswith("test_") for name in epochs) else "metrics.jsonl has no test measures per epoch"
