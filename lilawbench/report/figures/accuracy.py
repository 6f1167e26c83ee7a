"""Test accuracy per epoch, as mean and band over seeds."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.figures.drawing import curves, title
from lilawbench.report.figures.lines import Curves, plot_lines
from lilawbench.report.names import measures, natural
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def plot_accuracy(runs: "DataFrame", path: str | Path) -> "Figure":
    """Test accuracy [%] (mAP, RMSE) per epoch: mean and band of +- 1 sample std over seeds; one panel per setting, of
    more than six methods a small one for each.

    A curve ends with the first of its seeds to end (early stopping), so that every point is a mean over all seeds.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Raises:
        DataError: metrics.jsonl is missing or damaged.
    """
    shown = []
    for setting in sorted(runs["scene"].unique(), key=natural):
        here = runs[runs["scene"] == setting]
        name = f"test_{measures(here)[0]}"
        scale, unit = (100, " [%]") if name.endswith("accuracy") else (1, "")
        found = {}
        for method, cell in here.groupby("method"):
            if not (curve := curves(cell, "epoch", [name])):
                raise DataError(f"no {name} per epoch in metrics.jsonl of {', '.join(cell['folder'])}")
            found[method] = scale * curve[name]
        shown.append(Curves(title(setting, here, 70), name.replace("_", " ") + unit, found))
    return plot_lines(shown, path, "epoch", runs["method"].unique().tolist())
