"""Curves over training, as mean and band over seeds: test accuracy per epoch, LiLAW's parameters per step."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.figure import NOTE, cells, curves, draw, dress, panels, save, title, with_unique_names
from lilawbench.report.names import measures
from lilawbench.report.tables import natural
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

PARAMETERS = ("alpha", "beta", "delta")
PANEL_INCHES = (6.4, 4.0)  # accuracy: width, height of one panel
SMALL_INCHES = (3.6, 3.0)  # parameters: likewise


def plot_accuracy(runs: "DataFrame", path: str | Path) -> "Figure":
    """Test accuracy [%] (mAP, RMSE) per epoch: mean and band of +- 1 sample std over seeds; one panel per setting.

    A curve ends where the first of its seeds ends (early stopping), so that every point is a mean over all.

    Args:
        runs: finished runs, from `collect`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Raises:
        UserError: two runs share setting, method and seed. DataError: metrics.jsonl is missing or damaged.
    """
    named = with_unique_names(runs)
    settings = sorted(named["scene"].unique(), key=natural)
    methods = sorted(named["method"].unique(), key=natural)
    columns = min(len(settings), 2)
    figure, axes = panels(-(-len(settings) // columns), columns, len(settings), PANEL_INCHES)
    for panel, setting in zip(axes, settings):
        here = named[named["scene"] == setting]
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


def plot_parameters(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """LiLAW's alpha, beta and delta per training step: one row per LiLAW cell, one panel per parameter.

    Each parameter has its own scale: they start at 10, 2 and 6 and move by tenths.

    Args:
        runs, path: as in `plot_accuracy`.
    Returns:
        None, and no file, if no run has logged a parameter.
    """
    logged = []
    for name, cell in cells(runs, ("lilaw",)):
        found = curves(cell, "step", list(PARAMETERS))
        if found:
            logged.append((name, cell, found))
    if not logged:
        return None
    figure, axes = panels(len(logged), len(PARAMETERS), len(logged) * len(PARAMETERS), SMALL_INCHES)
    for row, (name, cell, found) in enumerate(logged):
        of_row = axes[row * len(PARAMETERS) : (row + 1) * len(PARAMETERS)]
        for number, (panel, parameter) in enumerate(zip(of_row, PARAMETERS)):
            if parameter not in found:
                panel.set_axis_off()
                continue
            draw(panel, found[parameter], parameter, number)
            dress(panel, "", "training step", parameter)
        of_row[0].set_title(title(name, cell, 120), loc="left", fontsize=11)
    figure.supxlabel(NOTE, fontsize=9)
    save(figure, path)
    return figure


def _legend(figure: "Figure", axes: "list[Axes]", columns: int) -> None:
    """One legend for all panels, below them, so that it covers no curve; as wide as the panels allow."""
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
