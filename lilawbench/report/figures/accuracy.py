"""Test accuracy per epoch, as mean and band over seeds."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.figures.drawing import NOTE, curves, draw, dress, panels, save, title
from lilawbench.report.names import measures, natural
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

INCHES = (6.4, 4.0)  # width, height of one panel


def plot_accuracy(runs: "DataFrame", path: str | Path) -> "Figure":
    """Test accuracy [%] (mAP, RMSE) per epoch: mean and band of +- 1 sample std over seeds; one panel per setting.

    A curve ends with the first of its seeds to end (early stopping), so that every point is a mean over all seeds.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Raises:
        DataError: metrics.jsonl is missing or damaged.
    """
    settings, methods = (sorted(runs[name].unique(), key=natural) for name in ("scene", "method"))
    columns = min(len(settings), 2)
    figure, axes = panels(-(-len(settings) // columns), columns, len(settings), INCHES)
    for panel, setting in zip(axes, settings):
        here = runs[runs["scene"] == setting]
        name = f"test_{measures(here)[0]}"
        scale, unit = (100, " [%]") if name.endswith("accuracy") else (1, "")
        for number, method in enumerate(methods):
            cell = here[here["method"] == method]
            if len(cell):
                found = curves(cell, "epoch", [name])
                if not found:
                    raise DataError(f"no {name} per epoch in metrics.jsonl of {', '.join(cell['folder'])}")
                draw(panel, scale * found[name], method, number)
        dress(panel, title(setting, here, 70), "epoch", name.replace("_", " ") + unit)
    _legend(figure, axes, columns)
    save(figure, path)
    return figure


def _legend(figure: "Figure", axes: "list[Axes]", columns: int) -> None:
    """One legend for all panels, below them so that it covers no curve, as wide as the panels allow."""
    handles = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels())}
    labels = sorted(handles, key=natural)
    ncols = max(1, min(len(labels), int(85 * columns / (max(map(len, labels)) + 7))))
    figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(labels) // ncols))
    figure.legend(
        [handles[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=ncols,
        title=NOTE,
        fontsize=10,
        title_fontsize=9,
        frameon=False,
    )
