"""What a method did with the training samples: RRM's pruning, Dynamic Loss's corrected labels and margins."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilawbench.report.collect import read_metrics
from lilawbench.report.figure import COLOURS, NOTE, cells, curves, draw, dress, look, panels, save, title
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

INCHES = (4.4, 3.2)  # width, height of one panel
MOST_ROWS = 12
MOST_CLASSES = 10  # whose g is drawn, one curve each
PRUNING = {
    "pruned": "pruned, of all samples",
    "prune_precision": "corrupted, of the pruned (precision)",
    "prune_recall": "pruned, of the corrupted (recall)",
}
CORRECTION = {
    "corrected_accuracy_clean": "corrected labels of clean samples",
    "corrected_accuracy_corrupted": "corrected labels of corrupted samples",
    "meta_precision": "observed labels of the meta set",
}
# more than 1/N blue, all of it grey, then ever less of it: light to dark
BIN_COLOURS = ("#0072B2", "#DDDDDD", "#FDDBB4", "#F5A962", "#D55E00", "#5A2300")
BARS = "#C4C4C4"


def plot_pruning(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """RRM's pruning, one row per RRM or A-RRM cell, the first 12 of them.

    Left: share of samples pruned by the last re-weighting, of the pruned that are corrupted (precision) and of the
    corrupted that are pruned (recall), per epoch. Middle and right: the weights N p of clean and of corrupted samples
    after each re-weighting, stacked shares of WEIGHT_BINS, means over seeds (RRM, Table 6).

    Args:
        runs: finished runs, from `collect`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has logged its pruning.
    Raises:
        UserError: two runs share setting, method and seed. DataError: a file of a run is missing or damaged.
    """

    def measured(cell: "DataFrame") -> tuple | None:
        found = curves(cell, "epoch", list(PRUNING))
        return (found, _weight_shares(cell)) if found else None

    def row(cell: "DataFrame", axes: "list[Axes]", found: dict, shares: dict) -> None:
        left, *others = axes
        if "noise.realised_rate_train" in cell:
            rate = 100 * cell["noise.realised_rate_train"].mean()
            left.axhline(rate, color="#666666", linestyle=(0, (2, 2)), linewidth=1, label="corrupted, of all samples")
        _draw_percent(left, found, PRUNING)
        dress(left, "", "epoch", "share [%]")
        for panel, kind in zip(others, ("clean", "corrupted")):
            _stack(panel, shares.get(kind), f"{kind} samples [%]")

    titles = ("", "sample weight in units of 1/N", "sample weight in units of 1/N")
    return _figure(runs, path, ("rrm", "a_rrm"), measured, row, titles, f"left: {NOTE}; bars: means over seeds")


def plot_corrector(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """What Dynamic Loss learned, one row per dynamic_loss cell, the first 12 of them.

    Left: the weight g(r | y) of an observed label per class over loss bins, at the last epoch (Figure 3); at most 10
    classes, evenly spaced. Middle: each class's margin at the last epoch, beside its training samples by clean label
    (Figures 4 and 8). Right: accuracy [%] of the corrected labels and of the meta set's labels per epoch (Figure 6).

    Args, Returns, Raises: as for `plot_pruning`.
    """

    def measured(cell: "DataFrame") -> tuple | None:
        tables = _last_tables(cell)
        return (tables, curves(cell, "epoch", list(CORRECTION))) if tables else None

    def row(cell: "DataFrame", axes: "list[Axes]", tables: dict, found: dict) -> None:
        left, middle, right = axes
        _draw_corrector(left, tables["g"].mean(axis=0))
        _draw_margins(middle, tables["margin"], tables["sizes"])
        _draw_percent(right, found, CORRECTION)
        dress(right, "", "epoch", "accuracy [%]")

    note = f"left: means over seeds; middle: bars and points likewise, whiskers ± 1 standard deviation; right: {NOTE}"
    return _figure(runs, path, ("dynamic_loss",), measured, row, ("class", "", ""), note)


def _figure(
    runs: "DataFrame",
    path: str | Path,
    methods: tuple[str, ...],
    measured: "Callable[[DataFrame], tuple | None]",
    draw_row: Callable[..., None],
    legend_titles: tuple[str, str, str],
    note: str,
) -> "Figure | None":
    """Three panels for every cell that logged something, and below each column its legend."""
    logged = [(name, cell, found) for name, cell in cells(runs, methods) if (found := measured(cell))]
    if not logged:
        return None
    shown = logged[:MOST_ROWS]
    figure, axes = panels(len(shown), 3, 3 * len(shown), INCHES)
    for number, (name, cell, found) in enumerate(shown):
        of_row = axes[3 * number : 3 * number + 3]
        draw_row(cell, of_row, *found)
        of_row[0].set_title(title(name, cell, 140), loc="left", fontsize=11)
    if len(shown) < len(logged):
        figure.suptitle(f"the first {len(shown)} of {len(logged)} cells", x=0.01, ha="left", fontsize=11)
    for column, legend_title in enumerate(legend_titles):
        _legend(axes[column::3], legend_title)
    figure.set_figheight(figure.get_figheight() + 1)
    figure.supxlabel(note, fontsize=9)
    save(figure, path)
    return figure


def _legend(column: "list[Axes]", legend_title: str) -> None:
    """Of all panels of a column, below the last one, so that it covers no curve."""
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


def _draw_percent(panel: "Axes", found: "dict[str, DataFrame]", labels: dict[str, str]) -> None:
    for number, (name, label) in enumerate(labels.items()):
        if name in found:
            draw(panel, 100 * found[name], label, number)
    panel.set_ylim(-3, 103)


def _weight_shares(cell: "DataFrame") -> "dict[str, DataFrame]":
    """For "clean" and "corrupted", where there are some: rows = re-weightings that all runs have, columns = bins, the
    mean over seeds of the shares of the samples."""
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


def _last_tables(cell: "DataFrame") -> "dict[str, np.ndarray]":
    """g [seeds, K, R] and margin [seeds, K] of each run's last epoch, sizes [seeds, K]: samples by clean label; empty
    if a run has not logged them."""
    import numpy as np

    tables: dict[str, list[Any]] = {"g": [], "margin": [], "sizes": []}
    for folder in cell["folder"]:
        rows = read_metrics(folder, "method")
        if not {"g", "margin"} <= set(rows):
            return {}
        last = rows.dropna(subset=["g", "margin"]).iloc[-1]
        for name in ("g", "margin"):
            tables[name].append(last[name])
        tables["sizes"].append(_class_sizes(Path(folder, "labels.npz"), len(last["margin"])))
    return {name: np.array(values) for name, values in tables.items()}


def _class_sizes(path: Path, num_classes: int) -> "np.ndarray":
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as labels:
            known = labels["clean" if "clean" in labels else "observed"]  # as given, where nobody knows the clean ones
            return np.bincount(known[labels["train"]], minlength=num_classes)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot read {path}: {error}. Delete the folder and start the run again.") from None


def _draw_corrector(panel: "Axes", g: "np.ndarray") -> None:
    """Curves of g [K, R], one for all classes if they are alike."""
    import numpy as np

    name = "g(r | y), weight of observed label"
    if (g == g[0]).all():
        classes, labels = [0], ["all"]
    else:
        classes = np.unique(np.linspace(0, len(g) - 1, min(len(g), MOST_CLASSES)).round().astype(int))
        labels = [str(class_) for class_ in classes]
        if len(classes) < len(g):
            name += f"\n({len(classes)} of {len(g)} classes)"
    for number, (class_, label) in enumerate(zip(classes, labels)):
        marker = "o" if g.shape[1] == 1 else None
        panel.plot(g[class_], **look(number), linewidth=1.5, label=label, marker=marker)
    dress(panel, "", "loss bin r", name)
    panel.set_ylim(-0.03, 1.03)


def _draw_margins(panel: "Axes", margin: "np.ndarray", sizes: "np.ndarray") -> None:
    """Margins [seeds, K] as points over bars of class sizes, which have their own axis."""
    std = margin.std(axis=0, ddof=1) if len(margin) > 1 else None
    classes = range(margin.shape[1])
    panel.errorbar(classes, margin.mean(axis=0), std, fmt="o", color=COLOURS[0], capsize=3, label="margin")
    panel.bar(0, 0, 0, color=BARS, label="samples")  # for the legend
    dress(panel, "", "class", "margin")
    panel.locator_params("x", nbins=12)
    panel.margins(x=0.03)
    behind = panel.twinx()
    behind.bar(classes, sizes.mean(axis=0), 0.8, color=BARS)
    behind.set_ylabel("training samples by clean label", fontsize=11)
    behind.tick_params(labelsize=10)
    behind.spines["top"].set_visible(False)
    panel.set_zorder(behind.get_zorder() + 1)
    panel.patch.set_visible(False)
