"""What a method pruned, and its weights: drawn for runs that log the share of samples `pruned`."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.collect import read_metrics
from lilawbench.report.figures.drawing import NOTE, curves, draw_percent, dress, three_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

SHARES = {
    "pruned": "pruned, of all samples",
    "prune_precision": "corrupted, of the pruned (precision)",
    "prune_recall": "pruned, of the corrupted (recall)",
}
KEYS = (*SHARES, "reweightings", "close_calls", "pruned_for_good")
# above 1/N blue, 1/N grey, then from light to dark as the weight falls
BIN_COLOURS = ("#0072B2", "#DDDDDD", "#FDDBB4", "#F5A962", "#D55E00", "#5A2300")


def plot_pruning(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """What was pruned, one row per cell whose runs have logged it, the first 12 of them.

    Left: share of samples pruned by the last re-weighting, of the pruned that are corrupted (precision) and of the
    corrupted that are pruned (recall), per epoch. Middle and right: the weights N p of clean and of corrupted samples
    after each re-weighting, stacked shares of WEIGHT_BINS, means over seeds (RRM, Table 6).

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has logged its pruning.
    Raises:
        DataError: a file of a run is missing or damaged.
    """

    def measured(cell: "DataFrame") -> tuple | None:
        found = curves(cell, "epoch", list(SHARES))
        return (found, _weight_shares(cell)) if found else None

    def row(cell: "DataFrame", axes: "list[Axes]", found: dict, shares: dict) -> None:
        left, *others = axes
        if "noise.realised_rate_train" in cell:
            rate = 100 * cell["noise.realised_rate_train"].mean()
            left.axhline(rate, color="#666666", linestyle=(0, (2, 2)), linewidth=1, label="corrupted, of all samples")
        draw_percent(left, found, SHARES)
        dress(left, "", "epoch", "share [%]")
        for panel, kind in zip(others, ("clean", "corrupted")):
            _stack(panel, shares.get(kind), f"{kind} samples [%]")

    titles = ("", "sample weight in units of 1/N", "sample weight in units of 1/N")
    return three_panels(runs, path, measured, row, titles, f"left: {NOTE}; bars: means over seeds")


def _weight_shares(cell: "DataFrame") -> "dict[str, DataFrame]":
    """For "clean" and "corrupted", if there are such samples: rows = re-weightings that all runs have, columns = bins;
    values are means over seeds of the shares of samples."""
    import pandas as pd

    runs: dict[str, list] = {"clean": [], "corrupted": []}
    for folder in cell["folder"]:
        epochs, tables = read_metrics(folder, "epoch"), read_metrics(folder, "method")
        if "weight_histogram" not in tables or "reweightings" not in epochs:
            return {}
        rows = epochs[["epoch", "reweightings"]].merge(tables[["epoch", "weight_histogram"]], on="epoch")
        rows = rows[rows["reweightings"] > 0].drop_duplicates("reweightings").set_index("reweightings")
        for number, of_kind in enumerate(runs.values()):
            counts = pd.DataFrame([pair[number] for pair in rows["weight_histogram"]], index=rows.index)
            of_kind.append(counts.div(counts.sum(axis=1), axis=0).dropna())
    means = {kind: sum(shares) / len(shares) for kind, shares in runs.items()}  # NaN where not all have the row
    return {kind: mean.dropna() for kind, mean in means.items() if len(mean.dropna())}


def _stack(panel: "Axes", shares: "DataFrame | None", label: str) -> None:
    """Bars of 100 % per re-weighting, or nothing."""
    from lilawbench.metrics.crossing import WEIGHT_BINS  # here: it imports torch

    if shares is None:
        return panel.set_axis_off()
    bottom = 0 * shares[0]
    for number, (name, colour) in enumerate(zip(WEIGHT_BINS, BIN_COLOURS, strict=True)):
        share = 100 * shares[number]
        panel.bar(shares.index, share, 0.9, bottom, color=colour, label=name.replace("to ", "down to "))
        bottom = bottom + share
    dress(panel, "", "re-weighting", label)
    panel.locator_params("x", nbins=12)
    panel.grid(visible=False)
    panel.set_ylim(0, 100)
