"""Everything else that a method logs, by cell: traced values per training step, and numbers per epoch."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.collect import logged_at_steps, read_metrics
from lilawbench.report.figures import corrector, pruning
from lilawbench.report.figures.drawing import NOTE, cells, curves, draw, dress, panels, save, title
from lilawbench.report.figures.looks import look

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

INCHES = (3.6, 3.0)  # width, height of one panel
ACROSS = 3  # panels in a row
MOST_CELLS, MOST_VALUES = 12, 24
# what every run measures (engine and probes), what tables show by score, and what other figures draw
MEASURED = ("train_", "val_", "test_", "suspects_")
OWN = {"kind", "epoch", "step", "lr", "epoch_seconds", "memorised", "recovered", "weight_clean", "weight_corrupted"}
DRAWN = {*pruning.KEYS, *corrector.KEYS}


def plot_traces(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """Mean and band over seeds of every value that a method's `trace()` or `logs()` wrote, a panel each, three in a
    row; every cell begins a new row. Each panel has its own scale. Where there are more than 12 cells, or 24 values in
    one, the figure says so and shows the first.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has logged such a value.
    Raises:
        DataError: metrics.jsonl of a run is missing or damaged.
    """
    logged = []
    for name, cell in cells(runs):
        if found := list(_logged(cell)):
            logged.append((name, cell, found))
        if len(logged) > MOST_CELLS:  # a thousand runs need not all be opened
            break
    if not logged:
        return None
    shown = [(name, cell, found[:MOST_VALUES]) for name, cell, found in logged[:MOST_CELLS]]
    across = min(ACROSS, max(len(found) for _, _, found in shown))
    rows = sum(-(-len(found) // across) for _, _, found in shown)
    figure, axes = panels(rows, across, rows * across, INCHES)
    row = 0
    for name, cell, found in shown:
        of_cell = axes[row * across :]
        for number, ((label, curve, x), panel) in enumerate(zip(found, of_cell)):
            draw(panel, curve, label, look(number))
            dress(panel, title(name, cell, 120) if number == 0 else "", x, label)
        row += -(-len(found) // across)
    for panel in axes:
        if not panel.lines:
            panel.remove()
    if left := _left_out(len(logged), max(len(found) for _, _, found in logged)):
        figure.suptitle(left, x=0.01, ha="left", fontsize=11)
    figure.supxlabel(NOTE, fontsize=9)
    save(figure, path)
    return figure


def _left_out(cells: int, values: int) -> str:
    parts = [f"the first {MOST_CELLS} cells"] * (cells > MOST_CELLS)
    parts += [f"of each cell the first {MOST_VALUES} values, the others are in metrics.jsonl"] * (values > MOST_VALUES)
    return "; ".join(parts)


def _logged(cell: "DataFrame") -> "Iterator[tuple[str, DataFrame, str]]":
    """Name, curves over seeds, and the x axis."""
    first = cell["folder"].iloc[0]
    traced = [name for name in logged_at_steps(first) if _of_method(name)]
    for name, curve in (curves(cell, "step", traced) if traced else {}).items():
        yield name, curve, "training step"
    epochs = read_metrics(first, "epoch").select_dtypes("number")
    numbers = [name for name in epochs if _of_method(name) and name not in traced]
    for name, curve in (curves(cell, "epoch", numbers) if numbers else {}).items():
        yield name, curve, "epoch"


def _of_method(name: str) -> bool:
    return name not in OWN and name not in DRAWN and not name.startswith(MEASURED)
