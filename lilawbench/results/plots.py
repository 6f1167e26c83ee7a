"""Curves over training, as mean and band over seeds: test accuracy per epoch, LiLAW's parameters per step."""

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.errors import DataError
from lilawbench.results.collect import read_metrics, with_names
from lilawbench.results.tables import natural, refuse_repeated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

# Okabe and Ito 2008: told apart under every common colour blindness. Yellow is left out: too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", ":", "-.")  # the second and later rounds of colours
PARAMETERS = ("alpha", "beta", "delta")
NOTE = "line: mean over seeds, band: ± 1 standard deviation"
PANEL_INCHES = (6.4, 4.0)  # accuracy: width, height of one panel
SMALL_INCHES = (3.6, 3.0)  # parameters: likewise


def plot_accuracy(runs: "DataFrame", path: str | Path) -> "Figure":
    """Test accuracy [%] per epoch: per method the mean over seeds and a band of +- 1 sample std; one panel per setting.

    A curve ends where the first of its seeds ends (early stopping), so that every point is a mean over all.

    Args:
        runs: finished runs, from `collect`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Raises:
        UserError: two runs share setting, method and seed. DataError: metrics.jsonl is missing or damaged.
    """
    named = _named(runs)
    settings = sorted(named["scene"].unique(), key=natural)
    methods = sorted(named["method"].unique(), key=natural)
    columns = min(len(settings), 2)
    figure, axes = _panels(-(-len(settings) // columns), columns, len(settings), PANEL_INCHES)
    for panel, setting in zip(axes, settings):
        here = named[named["scene"] == setting]
        for number, method in enumerate(methods):
            cell = here[here["method"] == method]
            if len(cell):
                curves = _curves(cell, "epoch", ["test_accuracy"])
                if not curves:
                    raise DataError(f"no test_accuracy per epoch in metrics.jsonl of {', '.join(cell['folder'])}")
                _draw(panel, 100 * curves["test_accuracy"], method, number)
        _dress(panel, _title(setting, here, 70), "epoch", "test accuracy [%]")
    _legend(figure, axes, columns)
    _save(figure, path)
    return figure


def plot_parameters(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """LiLAW's alpha, beta and delta per training step: one row per LiLAW cell, one panel per parameter.

    Each parameter has its own scale: they start at 10, 2 and 6 and move by tenths.

    Args:
        runs, path: as in `plot_accuracy`.
    Returns:
        None, and no file, if no run has logged a parameter.
    """
    named = _named(runs)
    cells = []
    for (scene, method), cell in named[named["config.method.name"] == "lilaw"].groupby(["scene", "method"]):
        curves = _curves(cell, "step", list(PARAMETERS))
        if curves:
            cells.append((scene, method, cell, curves))
    if not cells:
        return None
    cells.sort(key=lambda cell: (natural(cell[0]), natural(cell[1])))
    figure, axes = _panels(len(cells), len(PARAMETERS), len(cells) * len(PARAMETERS), SMALL_INCHES)
    for row, (scene, method, cell, curves) in enumerate(cells):
        panels = axes[row * len(PARAMETERS) : (row + 1) * len(PARAMETERS)]
        for number, (panel, parameter) in enumerate(zip(panels, PARAMETERS)):
            if parameter not in curves:
                panel.set_axis_off()
                continue
            _draw(panel, curves[parameter], parameter, number)
            _dress(panel, "", "training step", parameter)
        panels[0].set_title(_title(f"{method}: {scene}", cell, 120), loc="left", fontsize=11)
    figure.supxlabel(NOTE, fontsize=9)
    _save(figure, path)
    return figure


def _named(runs: "DataFrame") -> "DataFrame":
    named = with_names(runs)
    refuse_repeated(named)
    return named


def _curves(cell: "DataFrame", kind: str, names: list[str]) -> "dict[str, DataFrame]":
    """Per name that all runs of the cell logged: rows = epochs or steps that all runs have, columns = seeds."""
    import pandas as pd

    runs = {row["config.seed"]: read_metrics(row["folder"], kind) for row in cell.to_dict("records")}
    return {
        name: pd.DataFrame({seed: run.set_index(kind)[name] for seed, run in sorted(runs.items())}).dropna()
        for name in names
        if all(name in run and run[name].notna().any() for run in runs.values())
    }


def _draw(panel: "Axes", curve: "DataFrame", label: str, number: int) -> None:
    """Mean line and band of a table of curves, [points, seeds]; no band for one seed."""
    colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
    mean, std = curve.mean(axis=1), curve.std(axis=1, ddof=1)
    marker = "o" if len(curve) == 1 else None
    panel.plot(curve.index, mean, color=colour, linestyle=style, linewidth=1.8, label=label, marker=marker)
    if curve.shape[1] > 1:
        panel.fill_between(curve.index, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def _panels(rows: int, columns: int, count: int, inches: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    """A figure without pyplot: no global state, no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(inches[0] * columns, inches[1] * rows + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def _dress(panel: "Axes", title: str, x: str, y: str) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set_title(title, loc="left", fontsize=11)
    panel.set_xlabel(x, fontsize=11)
    panel.set_ylabel(y, fontsize=11)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    panel.ticklabel_format(useOffset=False, style="plain")
    panel.tick_params(labelsize=10)
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.01)


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


def _title(first: str, cell: "DataFrame", width: int) -> str:
    """What is shown (wrapped to `width` characters), the noise rate and the number of seeds."""
    return "\n".join([*textwrap.wrap(first, width), f"{_rate(cell)}, {_seeds(cell)}"])


def _seeds(cell: "DataFrame") -> str:
    """ "n = 5 seeds", or the range over methods."""
    counts = cell.groupby("method").size()
    low, high = counts.min(), counts.max()
    shown = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {shown} seed{'' if high == 1 else 's'}"


def _rate(cell: "DataFrame") -> str:
    """The realised share of wrong training labels, over all runs of the panel."""
    if "noise.realised_rate" not in cell or cell["noise.realised_rate"].isna().all():
        return "noise rate not recorded"
    low, high = (f"{100 * rate:.1f}" for rate in (cell["noise.realised_rate"].min(), cell["noise.realised_rate"].max()))
    return f"{low if low == high else f'{low} to {high}'} % wrong labels"


def _save(figure: "Figure", path: str | Path) -> None:
    """Written beside the target and renamed: a reader never sees half a picture."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format=path.suffix[1:] or "png", dpi=150)
    os.replace(part, path)
