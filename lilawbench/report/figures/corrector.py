"""What a corrector of labels learned: drawn for runs that log the tables `g` and `margin`."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.collect import read_labels, read_metrics
from lilawbench.report.figures.drawing import NOTE, curves, draw_percent, dress, three_panels
from lilawbench.report.figures.looks import COLOURS, look

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST_CLASSES = 10  # with a curve of g each
ACCURACIES = {
    "corrected_accuracy_clean": "corrected labels of clean samples",
    "corrected_accuracy_corrupted": "corrected labels of corrupted samples",
    "meta_precision": "observed labels of the meta set",
}
KEYS = (*ACCURACIES, "corrected_accuracy", "meta_balance", "g_mean")
BARS = "#C4C4C4"


def plot_corrector(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """What a corrector of labels learned, one row per cell whose runs have logged it, the first 12 of them.

    Left: the weight g(r | y) of an observed label per class over loss bins, at the last epoch; at most 10 classes,
    evenly spaced. Middle: each class's margin at the last epoch, beside its training samples by clean label.
    Right: accuracy [%] of the corrected labels and of the meta set's labels per epoch.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has logged the tables.
    Raises:
        DataError: a file of a run is missing or damaged.
    Source: Dynamic Loss, Figure 3; Figures 4 and 8; Figure 6.
    """

    def measured(cell: "DataFrame") -> tuple | None:
        tables = last_tables(cell)
        return (tables, curves(cell, "epoch", list(ACCURACIES))) if tables else None

    def row(cell: "DataFrame", axes: "list[Axes]", tables: dict, found: dict) -> None:
        left, middle, right = axes
        _draw_corrector(left, tables["g"].mean(axis=0))
        _draw_margins(middle, tables["margin"], tables["sizes"])
        draw_percent(right, found, ACCURACIES)
        dress(right, "", "epoch", "accuracy [%]")

    note = f"left: means over seeds; middle: bars and points likewise, whiskers ± 1 standard deviation; right: {NOTE}"
    return three_panels(runs, path, measured, row, ("class", "", ""), note)


def last_tables(cell: "DataFrame") -> "dict[str, np.ndarray]":
    """g [seeds, K, R] and margin [seeds, K] of each run's last epoch, sizes [seeds, K]: samples by clean label; empty
    if a run has not logged them. Raises: DataError, a file of a run is missing or damaged."""
    import numpy as np

    tables: dict[str, list] = {"g": [], "margin": [], "sizes": []}
    for folder in cell["folder"]:
        rows = read_metrics(folder, "method")
        if not {"g", "margin"} <= set(rows):
            return {}
        last = rows.dropna(subset=["g", "margin"]).iloc[-1]
        for name in ("g", "margin"):
            tables[name].append(last[name])
        tables["sizes"].append(_class_sizes(folder, len(last["margin"])))
    return {name: np.array(values) for name, values in tables.items()}


def _class_sizes(folder: str, num_classes: int) -> "np.ndarray":
    import numpy as np

    labels = read_labels(folder)
    known = labels.get("clean", labels["observed"])  # the given labels, if no clean ones are known
    return np.bincount(known[labels["train"]], minlength=num_classes)


def _draw_corrector(panel: "Axes", g: "np.ndarray") -> None:
    """Curves of g [K, R], one for all classes if they are alike."""
    import numpy as np

    name = "g(r | y), weight of observed label"
    classes, labels = np.zeros(1, dtype=int), ["all"]
    if not (g == g[0]).all():
        classes = np.unique(np.linspace(0, len(g) - 1, min(len(g), MOST_CLASSES)).round().astype(int))
        labels = [str(class_) for class_ in classes]
        if len(classes) < len(g):
            name += f"\n({len(classes)} of {len(g)} classes)"
    for number, (class_, label) in enumerate(zip(classes, labels)):
        (colour, style), marker = look(number), "o" if g.shape[1] == 1 else None
        panel.plot(g[class_], color=colour, linestyle=style, linewidth=1.5, label=label, marker=marker)
    dress(panel, "", "loss bin r", name)
    panel.set_ylim(-0.03, 1.03)


def _draw_margins(panel: "Axes", margin: "np.ndarray", sizes: "np.ndarray") -> None:
    """Margins [seeds, K] as points over bars of class sizes, which have their own axis."""
    std = margin.std(axis=0, ddof=1) if len(margin) > 1 else None
    classes = range(margin.shape[1])
    panel.errorbar(classes, margin.mean(axis=0), std, fmt="o", color=COLOURS[0], capsize=3, label="margin")
    panel.bar(0, 0, 0, color=BARS, label="samples")  # for the legend
    dress(panel, "", "class", "margin")
    panel.locator_params("x", nbins=12)
    panel.margins(x=0.03)
    behind = panel.twinx()
    behind.bar(classes, sizes.mean(axis=0), 0.8, color=BARS)
    behind.set_ylabel("training samples by clean label", fontsize=11)
    behind.tick_params(labelsize=10)
    behind.spines["top"].set_visible(False)
    panel.set_zorder(behind.get_zorder() + 1)
    panel.patch.set_visible(False)
