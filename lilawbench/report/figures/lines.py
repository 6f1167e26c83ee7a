"""Curves of methods within settings: a panel for each setting, or, of many methods, a small one for each of them."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.report.figures.drawing import NOTE, Room, above, draw, dress, panels, placed, room_above, save
from lilawbench.report.figures.looks import looks
from lilawbench.report.names import natural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

INCHES = (6.4, 4.0)  # width, height of a panel
MOST_TOGETHER = 6  # methods in a panel; more get small panels of their own
FOOT = 0.35  # inches below panels, for the head of the legend
SMALL = (2.5, 1.9)
ACROSS = 4
MOST_SMALL = 48
OTHERS = "#D9D9D9"


class Curves(NamedTuple):
    """What a panel shows: by method the values at each x, [points, seeds]."""

    title: str
    y: str
    methods: "dict[str, DataFrame]"


def plot_lines(
    shown: Sequence[Curves], path: str | Path, x: str, methods: Sequence[str], integers: bool = True
) -> "Figure":
    """Means over seeds, with a band of one sample standard deviation.

    Args:
        shown: not empty. path: the file to write. x: name of the axis.
        methods: all of the report's, whose looks do not depend on what is shown. integers: ticks at whole x alone.
    """
    look = looks(methods)
    if len({method for one in shown for method in one.methods}) > MOST_TOGETHER:
        figure = _small(shown, look, x, integers)
    else:
        figure = _together(shown, look, x, integers)
    save(figure, path)
    return figure


def _together(shown: Sequence[Curves], look: dict[str, tuple[str, str]], x: str, integers: bool) -> "Figure":
    columns = min(len(shown), 2)
    rows, count = -(-len(shown) // columns), len(shown)
    if all("[%]" in one.y for one in shown):  # at most "100.5" beside the ticks
        room = Room(0.75, 0.55, 0.15, room_above([one.title for one in shown], 11))
        figure, axes = placed(rows, columns, count, INCHES, room, FOOT)
    else:
        figure, axes = panels(rows, columns, count, INCHES)
    for panel, one in zip(axes, shown):
        for method in sorted(one.methods, key=natural):
            draw(panel, one.methods[method], method, look[method])
        dress(panel, one.title, x, one.y, integers)
    _legend(figure, axes, columns)
    return figure


def _small(shown: Sequence[Curves], look: dict[str, tuple[str, str]], x: str, integers: bool) -> "Figure":
    """A panel for each method, the others in grey behind it; panels of a setting share their scale."""
    from matplotlib.figure import Figure

    fitting = _fitting(shown)
    rows = sum(-(-len(one.methods) // ACROSS) for one in fitting)
    height = rows * SMALL[1] + 0.45 * len(fitting) + 0.5
    figure = Figure(figsize=(SMALL[0] * ACROSS, height))
    top = height - 0.1
    for one in fitting:
        top -= 0.45
        figure.text(0.01, (top + 0.08) / height, one.title.replace("\n", "; "), fontsize=10, va="bottom")
        for number, method in enumerate(sorted(one.methods, key=natural)):
            row, column = divmod(number, ACROSS)
            left, bottom = 0.055 + column / ACROSS * 0.97, (top - (row + 1) * SMALL[1] + 0.5) / height
            panel = figure.add_axes((left, bottom, 0.88 * 0.97 / ACROSS - 0.02, (SMALL[1] - 0.75) / height))
            _behind(panel, one, method)
            draw(panel, one.methods[method], method, look[method])
            dress(panel, "", "", one.y if column == 0 else "", integers)
            above(panel, "\n".join(textwrap.wrap(method, 34)[:2]), 8)
            panel.tick_params(labelsize=7)
            panel.yaxis.label.set_fontsize(8)
        top -= -(-len(one.methods) // ACROSS) * SMALL[1]
    left_out = f"; the first {len(fitting)} of {len(shown)} settings" if len(fitting) < len(shown) else ""
    figure.text(0.01, 0.1 / height, f"horizontal: {x}; {NOTE}; grey: the other methods{left_out}", fontsize=8)
    return figure


def _fitting(shown: Sequence[Curves]) -> list[Curves]:
    """The first settings, as many as have room, at least one."""
    fitting: list[Curves] = []
    count = 0
    for one in shown:
        count += len(one.methods)
        if fitting and count > MOST_SMALL:
            break
        fitting.append(one)
    return fitting


def _behind(panel: "Axes", one: Curves, method: str) -> None:
    for other, curve in one.methods.items():
        if other != method:
            panel.plot(curve.index, curve.mean(axis=1), color=OTHERS, linewidth=0.8, zorder=1)


def _legend(figure: "Figure", axes: "list[Axes]", columns: int) -> None:
    """One legend for all panels, below them so that it covers no curve, as wide as the panels allow."""
    handles = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels())}
    labels = sorted(handles, key=natural)
    ncols = max(1, min(len(labels), int(85 * columns / (max(map(len, labels)) + 7))))
    figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(labels) // ncols))
    figure.legend(
        [handles[label] for label in labels],
        labels,
        loc="lower center" if figure.get_layout_engine() is None else "outside lower center",
        ncols=ncols,
        title=NOTE,
        fontsize=10,
        title_fontsize=9,
        frameon=False,
    )
