"""Shared by all figures: panels, curves as mean and band over seeds, titles, saving."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.report.collect import read_metrics
from lilawbench.report.figures.looks import look
from lilawbench.report.names import natural
from lilawbench.support.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

ROW_INCHES = (4.4, 3.2)  # width, height of one of a row's three panels
MOST_ROWS = 12
LINE = 1.25 / 72  # inches of a line of text, by its font size
NOTE = "line: mean over seeds, band: ± 1 standard deviation"


def cells(runs: "DataFrame") -> "list[tuple[str, DataFrame]]":
    """ "method: setting" and the runs, by ascending seed, of every cell.

    Args:
        runs: named, from `with_unique_names`.
    """
    groups = runs.sort_values("config.seed").groupby(["scene", "method"])
    found = sorted(groups, key=lambda group: [natural(name) for name in group[0]])
    return [(f"{method}: {scene}", cell) for (scene, method), cell in found]


def curves(cell: "DataFrame", kind: str, names: Sequence[str]) -> "dict[str, DataFrame]":
    """For each name that all runs of the cell logged: rows = epochs or steps that all runs have, columns = seeds."""
    import pandas as pd

    runs: dict[int, DataFrame] = {}
    for seed, folder in zip(cell["config.seed"], cell["folder"]):
        runs[seed] = read_metrics(folder, kind)
        names = [name for name in names if name in runs[seed] and runs[seed][name].notna().any()]
        if not names:  # the other runs need not be opened
            return {}
    return {
        name: pd.DataFrame({seed: run.set_index(kind)[name] for seed, run in sorted(runs.items())}).dropna()
        for name in names
    }


def draw(panel: "Axes", curve: "DataFrame", label: str, look: tuple[str, str]) -> None:
    """Mean line and band of a table of curves, [points, seeds]; no band for one seed. look: colour and line style."""
    mean, std = curve.mean(axis=1), curve.std(axis=1, ddof=1)
    marker = "o" if len(curve) == 1 else None
    colour, style = look
    panel.plot(curve.index, mean, color=colour, linestyle=style, linewidth=1.8, label=label, marker=marker)
    if curve.shape[1] > 1:
        panel.fill_between(curve.index, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def panels(rows: int, columns: int, count: int, inches: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    """A figure without pyplot: no global state, no display. inches: width and height of each of its `count` panels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(inches[0] * columns, inches[1] * rows + 0.3), layout=layout)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


class Room(NamedTuple):
    """Inches around a panel."""

    left: float
    below: float
    right: float
    above: float


def placed(
    rows: int, columns: int, count: int, inches: tuple[float, float], room: Room, foot: float
) -> "tuple[Figure, list[Axes]]":
    """As `panels`, where it is known how much room words need: a layout measures each of them several times.

    Args:
        inches: width and height of each panel, with the room around it. foot: inches below all panels.
    """
    from matplotlib.figure import Figure

    width, height = inches[0] * columns, inches[1] * rows + foot
    size = (inches[0] - room.left - room.right) / width, (inches[1] - room.below - room.above) / height
    figure, axes = Figure(figsize=(width, height)), []
    for number in range(count):
        row, column = divmod(number, columns)
        corner = (column * inches[0] + room.left) / width, (height - (row + 1) * inches[1] + room.below) / height
        axes.append(figure.add_axes((*corner, *size)))
    return figure, axes


def room_above(titles: Iterable[str], fontsize: float) -> float:
    """Inches that the tallest of some titles needs."""
    return (1 + max(title.count("\n") for title in titles)) * fontsize * LINE + 0.13


def dress(panel: "Axes", title: str, x: str, y: str, integers: bool = True) -> None:
    """Sets title, axis labels, grid, and ticks: at integer x, unless told otherwise."""
    from matplotlib.ticker import MaxNLocator

    above(panel, title)
    panel.set_xlabel(x, fontsize=11)
    panel.set_ylabel(y, fontsize=11)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=integers))
    panel.ticklabel_format(useOffset=False, style="plain")
    panel.tick_params(labelsize=10)
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.01)


def above(panel: "Axes", text: str, fontsize: float = 11) -> None:
    """Sets a panel's title, on the left.

    Its height is given: Matplotlib would lay out every tick again to find room above ticks, which are all below.
    """
    panel.set_title(text, loc="left", fontsize=fontsize, y=1.0)


def title(first: str, cell: "DataFrame", width: int) -> str:
    """A panel's title: what is shown (wrapped to `width` characters), noise rate and number of seeds."""
    return "\n".join([*textwrap.wrap(first, width), f"{_rate(cell)}, {_seeds(cell)}"])


def save(figure: "Figure", path: str | Path) -> None:
    """Writes a temporary file and renames it, so that nobody sees half a picture. An SVG keeps its words as text.

    Saved again in another format, the figure keeps its layout, which takes half of the time.
    """
    from matplotlib import rc_context

    path = Path(path)
    kind = path.suffix[1:] or "png"
    with replacing(path) as file, rc_context({"svg.fonttype": "none", "svg.hashsalt": "lilawbench"}):
        figure.savefig(file, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    figure.set_layout_engine("none")


def three_panels(
    runs: "DataFrame",
    path: str | Path,
    measured: "Callable[[DataFrame], tuple | None]",
    draw_row: Callable[..., None],
    legend_titles: tuple[str, str, str],
    note: str,
) -> "Figure | None":
    """Three panels for each of the first 12 cells that have something to draw; each column has its legend below.

    Args:
        measured: what to draw of a cell; None if its runs do not have it. draw_row: draws it, called with the cell, its
            three panels and what `measured` gave.
    """
    logged = [(name, cell, found) for name, cell in cells(runs) if (found := measured(cell))]
    if not logged:
        return None
    shown = logged[:MOST_ROWS]
    figure, axes = panels(len(shown), 3, 3 * len(shown), ROW_INCHES)
    for number, (name, cell, found) in enumerate(shown):
        of_row = axes[3 * number : 3 * number + 3]
        draw_row(cell, of_row, *found)
        above(of_row[0], title(name, cell, 140))
    if len(shown) < len(logged):
        figure.suptitle(f"the first {len(shown)} of {len(logged)} cells", x=0.01, ha="left", fontsize=11)
    for column, legend_title in enumerate(legend_titles):
        _legend_below(axes[column::3], legend_title)
    figure.set_figheight(figure.get_figheight() + 1)
    figure.supxlabel(note, fontsize=9)
    save(figure, path)
    return figure


def _legend_below(column: "list[Axes]", legend_title: str) -> None:
    """The legend of all panels of a column, below the last one so that it covers no curve."""
    handles = {label: line for panel in column for line, label in zip(*panel.get_legend_handles_labels())}
    longest = max(map(len, handles), default=0)
    column[-1].legend(
        handles.values(),
        handles.keys(),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=5 if longest < 5 else 3 if longest < 12 else 1,
        title=legend_title,
        fontsize=9,
        title_fontsize=9,
        frameon=False,
    )


def draw_percent(panel: "Axes", found: "dict[str, DataFrame]", labels: dict[str, str]) -> None:
    for number, (name, label) in enumerate(labels.items()):
        if name in found:
            draw(panel, 100 * found[name], label, look(number))
    panel.set_ylim(-3, 103)


def _seeds(cell: "DataFrame") -> str:
    """ "n = 5 seeds", or the range over methods."""
    counts = cell.groupby("method").size()
    low, high = counts.min(), counts.max()
    shown = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {shown} seed{'' if high == 1 else 's'}"


def _rate(cell: "DataFrame") -> str:
    """The realised noise rate over all runs of the panel."""
    if "noise.realised_rate" not in cell or cell["noise.realised_rate"].isna().all():
        return "noise rate not recorded"
    low, high = (f"{100 * rate:.1f}" for rate in (cell["noise.realised_rate"].min(), cell["noise.realised_rate"].max()))
    return f"{low if low == high else f'{low} to {high}'} % wrong labels"
