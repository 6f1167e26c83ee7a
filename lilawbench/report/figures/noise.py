"""The test measure against the noise rate."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.figures.lines import Curves, plot_lines
from lilawbench.report.measured import column
from lilawbench.report.names import measures, natural, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

RULES = ("best_val", "last")
LEAST_RATES = 2
RATE = "<noise>"  # in a setting's name


def plot_noise(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """Test accuracy [%] (mAP, RMSE) over the noise rate [%] that was asked for: mean and band of +- 1 sample std over
    seeds; a panel for each kind of noise with several rates, on the same data and network. Runs without noise count as
    rate 0 of each kind.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no kind of noise has several rates.
    """
    shown = []
    for kind, here in _kinds(runs):
        measure = measures(here)[0]
        rule = next((rule for rule in RULES if f"{rule}.test_{measure}" in here), None)
        if rule is None:
            continue
        key, scale, unit = f"{rule}.test_{measure}", *((100, " [%]") if measure == "accuracy" else (1, ""))
        found = {}
        for method, cell in here.groupby("method"):
            curve = cell.pivot_table(index="rate", columns="config.seed", values=key).dropna(axis=1)
            if len(curve) >= LEAST_RATES and curve.shape[1]:
                found[method] = scale * curve
        if found:
            shown.append(Curves(kind, f"test {measure}{unit} at {rule}", found))
    return plot_lines(shown, path, "noise rate [%]", runs["method"].unique().tolist(), False) if shown else None


def _kinds(runs: "DataFrame") -> "Iterator[tuple[str, DataFrame]]":
    """Name and runs, with their "rate" [%], of each kind of noise on one data set and network."""
    names, rates = column(runs, "config.noise.name"), column(runs, "config.noise.rate")
    apart = [_without_rate(*each) for each in zip(runs["scene"], names, rates)]
    known = [0.0 if name == "none" else rate for name, rate in zip(names, rates)]
    for scene, noise in sorted({each for each in apart if each[1] != "none"}, key=lambda each: natural(" ".join(each))):
        mine = [
            place == scene and name in (noise, "none") and isinstance(rate, int | float)
            for (place, name), rate in zip(apart, known)
        ]
        here = runs[mine]
        here = here.assign(rate=[100 * rate for rate, wanted in zip(known, mine) if wanted])
        if here["rate"].nunique() >= LEAST_RATES:
            yield scene.replace(RATE, noise), here


def _without_rate(scene: str, noise: str | None, rate: float | None) -> tuple[str, str]:
    """A setting's name with RATE for its noise, and the noise's name."""
    shown = "no noise" if noise in (None, "none") else " ".join(filter(None, (noise, text(rate))))
    return scene.replace(shown, RATE, 1), noise or "none"
