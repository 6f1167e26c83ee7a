"""What became of corrupted labels, per epoch: memorised, or recovered."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.figures.drawing import curves, title
from lilawbench.report.figures.lines import Curves, plot_lines
from lilawbench.report.names import natural

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SHARES = {"memorised": "memorised [%]", "recovered": "recovered [%]"}


def plot_memorised(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """Of the training samples with a corrupted label, per epoch: the share [%] that is predicted as the corrupted label
    (memorised), and as the clean one (recovered); two panels per setting, mean and band over seeds.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has logged them: its clean labels are unknown, or it has no corrupted ones.
    Raises:
        DataError: metrics.jsonl of a run is missing or damaged.
    """
    shown = []
    for setting in sorted(runs["scene"].unique(), key=natural):
        here = runs[runs["scene"] == setting]
        found = {method: curves(cell, "epoch", list(SHARES)) for method, cell in here.groupby("method")}
        for share, name in SHARES.items():
            if of_share := {method: 100 * one[share] for method, one in found.items() if share in one}:
                shown.append(Curves(title(setting, here, 70), name, of_share))
    return plot_lines(shown, path, "epoch", runs["method"].unique().tolist()) if shown else None
