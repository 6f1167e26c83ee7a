"""What all figures share: colours, panels, curves as mean and band over seeds, titles, one way to be saved."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.collect import read_metrics
from lilawbench.report.names import with_names
from lilawbench.report.repeated import refuse_repeated
from lilawbench.report.tables import natural
from lilawbench.support.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

# Okabe and Ito 2008: told apart under every common colour blindness. Yellow is left out: too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", ":", "-.")  # the second and later rounds of colours
NOTE = "line: mean over seeds, band: ± 1 standard deviation"


def with_unique_names(runs: "DataFrame") -> "DataFrame":
    """The runs with the columns of `with_names`. Raises: UserError, two runs share setting, method and seed."""
    named = with_names(runs)
    refuse_repeated(named)
    return named


def cells(runs: "DataFrame", methods: tuple[str, ...]) -> "list[tuple[str, DataFrame]]":
    """ "method: setting" and the runs, by ascending seed, of every cell whose method's file is among `methods`."""
    named = with_unique_names(runs)
    file = named["config.method._target_"].str.split(".").str[-2]  # presets of a method have other names
    groups = named[file.isin(methods)].sort_values("config.seed").groupby(["scene", "method"])
    found = sorted(groups, key=lambda group: [natural(name) for name in group[0]])
    return [(f"{method}: {scene}", cell) for (scene, method), cell in found]


def curves(cell: "DataFrame", kind: str, names: list[str]) -> "dict[str, DataFrame]":
    """Per name that all runs of the cell logged: rows = epochs or steps that all runs have, columns = seeds."""
    import pandas as pd

    runs = {row["config.seed"]: read_metrics(row["folder"], kind) for row in cell.to_dict("records")}
    return {
        name: pd.DataFrame({seed: run.set_index(kind)[name] for seed, run in sorted(runs.items())}).dropna()
        for name in names
        if all(name in run and run[name].notna().any() for run in runs.values())
    }


def draw(panel: "Axes", curve: "DataFrame", label: str, number: int) -> None:
    """Mean line and band of a table of curves, [points, seeds]; no band for one seed. `number` picks the colour."""
    mean, std = curve.mean(axis=1), curve.std(axis=1, ddof=1)
    marker = "o" if len(curve) == 1 else None
    panel.plot(curve.index, mean, **look(number), linewidth=1.8, label=label, marker=marker)
    if curve.shape[1] > 1:
        colour = look(number)["color"]
        panel.fill_between(curve.index, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def look(number: int) -> dict[str, str]:
    """Colour and style of the n-th line of a panel."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number // len(COLOURS) % len(STYLES)]}


def panels(rows: int, columns: int, count: int, inches: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    """A figure without pyplot: no global state, no display. inches: width and height of one of its `count` panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(inches[0] * columns, inches[1] * rows + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def dress(panel: "Axes", title: str, x: str, y: str) -> None:
    """Title, names of the axes, grid, ticks at whole x."""
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


def title(first: str, cell: "DataFrame", width: int) -> str:
    """What is shown (wrapped to `width` characters), the noise rate and the number of seeds."""
    return "\n".join([*textwrap.wrap(first, width), f"{_rate(cell)}, {_seeds(cell)}"])


def save(figure: "Figure", path: str | Path) -> None:
    """Written beside the target and renamed: a reader never sees half a picture."""
    path = Path(path)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:] or "png", dpi=150)


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
