"""Reliability diagrams: accuracy against confidence on test rows, before and after one temperature."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.figures.drawing import Room, above, cells, dress, placed, room_above, save, title
from lilawbench.report.figures.looks import colour
from lilawbench.report.measured import column

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

SIDE = 3.0  # inches of a panel
FOOT = 0.3  # below all panels
ACROSS = 3  # panels in a row
MOST_CELLS = 24
RULES = ("best_val", "last")  # the first that a cell's runs have
ROWS = "#C4C4C4"


def plot_reliability(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """Accuracy against mean confidence in 15 bins, a panel per cell, the rows of all its seeds in one pool.

    On the diagonal confidence can be trusted; below it the network is too sure, above it too modest. Grey: the share of
    rows in each bin, before.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has a diagram.
    """
    found = [(name, cell, rule) for name, cell in cells(runs) if (rule := _rule(cell))]
    if not found:
        return None
    shown = found[:MOST_CELLS]
    across = min(ACROSS, len(shown))
    titles = [title(f"{name}, {rule}", cell, 46) + "\n" + _said(cell, rule) for name, cell, rule in shown]
    room = Room(0.7, 0.5, 0.2, room_above(titles, 9))
    inches = SIDE + room.left + room.right, SIDE + room.below + room.above
    figure, axes = placed(-(-len(shown) // across), across, len(shown), inches, room, FOOT)
    for panel, text, (_, cell, rule) in zip(axes, titles, shown):
        _draw(panel, cell, rule)
        dress(panel, "", "confidence", "accuracy")
        above(panel, text, 9)
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.25, 0.5, 0.75, 1], aspect="equal")
        panel.legend(loc="upper left", fontsize=8, frameon=False)
    note = "temperature: fitted on validation rows and the labels that the method sees; grey: share of rows"
    if len(shown) < len(found):
        note += f"; the first {len(shown)} of {len(found)} cells"
    figure.text(0.01, 0.08 / figure.get_figheight(), note, fontsize=8)
    save(figure, path)
    return figure


def _rule(cell: "DataFrame") -> str | None:
    for rule in RULES:
        if any(column(cell, f"{rule}.reliability")):
            return rule
    return None


def _draw(panel: "Axes", cell: "DataFrame", rule: str) -> None:
    diagrams = [diagram for diagram in column(cell, f"{rule}.reliability") if diagram]
    own = colour(cell["method"].iloc[0])
    panel.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for when, style, fill in (("before", "--", "white"), ("after", "-", own)):
        if not (there := [one[when] for one in diagrams if when in one]):  # no validation rows to fit a temperature
            continue
        confidence, accuracy, share = _pooled(there)
        if when == "before":
            width = 1 / len(share)
            panel.bar([width * (at + 0.5) for at in range(len(share))], share, width, color=ROWS, linewidth=0)
        full = share > 0
        panel.plot(
            confidence[full], accuracy[full], color=own, linestyle=style, linewidth=1.6, marker="o", markersize=4,
            markerfacecolor=fill, label=when,
        )  # fmt: skip


def _pooled(diagrams: "Sequence[list]") -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Mean confidence, accuracy and share of the rows in each bin, [bins] each, NaN where it is empty."""
    import numpy as np

    rows = np.array([[[value or 0.0 for value in row] for row in diagram] for diagram in diagrams], dtype=float)
    counts = rows[:, :, 2].sum(axis=0)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = ((rows[:, :, at] * rows[:, :, 2]).sum(axis=0) / counts for at in (0, 1))
    return confidence, accuracy, counts / counts.sum()


def _said(cell: "DataFrame", rule: str) -> str:
    """ "ECE 0.212 to 0.034, T 1.83 (clean labels: 1.20)", means over seeds."""
    keys = ("test_ece", "test_ece_calibrated", "temperature", "temperature_clean")
    of_seeds = ([value for value in column(cell, f"{rule}.{key}") if isinstance(value, float)] for key in keys)
    before, after, fitted, clean = (sum(values) / len(values) if values else None for values in of_seeds)
    said = "" if before is None else f"ECE {before:.3f}"
    said += "" if after is None else f" to {after:.3f}"
    said += "" if fitted is None else f", T {fitted:.2f}"
    return said + ("" if clean is None else f" (clean labels: {clean:.2f})")
