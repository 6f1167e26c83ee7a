"""The figures of a report, a file each, drawn for the runs whose metrics have the values.

`plot(runs, path)` writes the picture, or returns None if no run has them. `ranks` is drawn from the tables' cells.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.report.collect import has_labels, read_arrays, read_labels, read_metrics, reading_once
from lilawbench.report.document import Picture
from lilawbench.report.figures.accuracy import plot_accuracy
from lilawbench.report.figures.corrector import last_tables, plot_corrector
from lilawbench.report.figures.drawing import save
from lilawbench.report.figures.matrices import plot_confusion, plot_transitions
from lilawbench.report.figures.memorised import plot_memorised
from lilawbench.report.figures.noise import plot_noise
from lilawbench.report.figures.pruning import plot_pruning
from lilawbench.report.figures.reliability import plot_reliability
from lilawbench.report.figures.traces import plot_traces
from lilawbench.report.figures.weighing import FILE as WEIGHING
from lilawbench.report.figures.weighing import plot_weighing
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Drawing(NamedTuple):
    """How a figure is drawn, and what the page says of it."""

    plot: "Callable[[DataFrame, Path], Figure | None]"
    title: str
    shows: str
    vector: bool = False  # whether an SVG is worth having


FIGURES = {
    "accuracy.png": Drawing(
        plot_accuracy, "Test measure per epoch", "The mean over seeds, and a band of one standard deviation.", True
    ),
    "memorised.png": Drawing(
        plot_memorised,
        "Corrupted labels: memorised and recovered",
        "Of the training samples whose label is wrong, how many are predicted as that label, and how many as the clean "
        "one.",
        True,
    ),
    "noise.png": Drawing(
        plot_noise, "Test measure against noise", "Over the noise rate that was asked for, by kind of noise.", True
    ),
    "transitions.png": Drawing(
        plot_transitions,
        "How labels were corrupted",
        "The realised transition matrix: of the samples of each clean class, the share with each observed label.",
    ),
    "confusion.png": Drawing(
        plot_confusion,
        "What was predicted",
        "The confusion matrix of test rows: of the rows of each class, the share predicted as each one.",
    ),
    "parameters.png": Drawing(
        plot_traces, "What the methods log", "Values of a method's own per step or epoch, a panel each.", True
    ),
    "weighing.png": Drawing(
        plot_weighing,
        "How samples were weighed",
        "Samples of the last epoch over the probabilities of the likeliest class (s_max) and of the observed one "
        "(s_y), on the surface of the weight where its formula is known; weights of clean and of corrupted samples.",
    ),
    "pruning.png": Drawing(
        plot_pruning,
        "What was pruned",
        "The share of samples pruned, how many of them are corrupted, and the weights of clean and corrupted samples.",
    ),
    "corrector.png": Drawing(
        plot_corrector,
        "What the label corrector learned",
        "The weight g of an observed label over loss bins, the margins of the classes, and how often a corrected label "
        "is the clean one.",
    ),
    "reliability.png": Drawing(
        plot_reliability,
        "Whether confidence can be trusted",
        "Accuracy of test rows against confidence, before and after one temperature; on the diagonal they agree.",
    ),
}


@reading_once()
def draw_all(runs: "DataFrame", out_dir: Path, vectors: bool = False) -> tuple[list[Picture], dict[str, str]]:
    """Draws every figure that the runs have values for.

    Args:
        runs: named, from `with_unique_names`. vectors: whether curves are written as SVG too.
    Returns:
        The pictures; and the folders of runs that are in none, since their metrics.jsonl or labels.npz is
        damaged, with the reason.
    """
    try:
        return _draw(runs, out_dir, vectors), {}
    except DataError:
        reasons = [_damage(runs.iloc[[number]]) for number in range(len(runs))]
        if not any(reasons):
            raise
        damaged = {folder: reason for folder, reason in zip(runs["folder"], reasons) if reason}
        return _draw(runs[[not reason for reason in reasons]], out_dir, vectors), damaged


def draw_none(out_dir: Path) -> list[Picture]:
    """Removes older figures, which would be of other runs."""
    for name in FIGURES:
        drawn(None, out_dir / name)
    return []


def drawn(figure: object, path: Path) -> bool:
    """Whether the figure was drawn; if not, older files are removed."""
    if figure is None:
        path.unlink(missing_ok=True)
        path.with_suffix(".svg").unlink(missing_ok=True)
    return figure is not None


def _draw(runs: "DataFrame", out_dir: Path, vectors: bool) -> list[Picture]:
    pictures = []
    for name, drawing in FIGURES.items():
        path = out_dir / name
        figure = None if runs.empty else drawing.plot(runs, path)
        if drawn(figure, path):
            vector = path.with_suffix(".svg")
            if vectors and drawing.vector and figure is not None:
                save(figure, vector)
            else:
                vector.unlink(missing_ok=True)  # it would be of other runs
            pictures.append(Picture(path, drawing.title, drawing.shows))
    return pictures


def _damage(run: "DataFrame") -> str:
    """What is wrong with the files of one run; "" if nothing is."""
    try:
        folder = run["folder"].iloc[0]
        epochs, _ = read_metrics(folder, "epoch"), read_metrics(folder, "step")
        last_tables(run)
        if has_labels(folder):
            read_labels(folder)
        if Path(folder, WEIGHING).exists():
            read_arrays(Path(folder, WEIGHING))
    except DataError as error:
        return str(error)
    return "" if any(name.startswith("test_") for name in epochs) else "metrics.jsonl has no test measures per epoch"
