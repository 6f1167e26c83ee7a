"""How samples were weighed: surfaces over what the network makes of them, and weights of clean and corrupted ones."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.report.collect import read_arrays, read_metrics
from lilawbench.report.figures.drawing import above, cells, save
from lilawbench.report.figures.looks import COLOURS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

FILE = "weighing.npz"
MOST = 8  # cells
WIDTH, HEIGHT = 2.5, 2.9  # inches of a panel and what is around it
GRID = 81  # points of a surface, each way
BINS = 40
PARAMETERS = ("alpha", "beta", "delta")
CLEAN, CORRUPTED = COLOURS[:2]


class Weighed(NamedTuple):
    """The samples of one run, [S] each, and the surfaces that they lie on."""

    name: str
    arrays: "dict[str, np.ndarray]"
    surfaces: "dict[str, np.ndarray]"  # by title, [GRID, GRID] over s_max (across) and s_y (up)


def plot_weighing(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """The samples of the last epoch over s_max and s_y, the probabilities of the likeliest class and of the observed
    one, with the weights that they had; of runs that logged alpha, beta and delta, on the surfaces of W_alpha, W_beta,
    W_delta and their sum. Last: how many clean and corrupted samples have which weight. A row for each of the first
    eight cells, of the run with the lowest seed.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has weighed samples.
    Raises:
        DataError: a file of a run is damaged.
    Source: LiLAW, Eq. 2-5 and Figure 2.
    """
    found = []
    for name, cell in cells(runs):
        first = Path(cell["folder"].iloc[0])
        if (first / FILE).exists():
            arrays = read_arrays(first / FILE)
            found.append(Weighed(f"{name}, seed {cell['config.seed'].iloc[0]}", arrays, _surfaces(cell.iloc[0])))
        if len(found) > MOST:
            break
    if not found:
        return None
    from matplotlib.figure import Figure

    shown = found[:MOST]
    columns = max(2 + len(one.surfaces or [0]) - 1 for one in shown)
    figure = Figure(figsize=(WIDTH * columns + 0.3, (HEIGHT + 0.25) * len(shown) + 0.3))
    width, height = figure.get_size_inches()
    for number, one in enumerate(shown):
        top = height - number * (HEIGHT + 0.25) - 0.55
        epoch = int(one.arrays["epoch"])
        figure.text(0.01, (top + 0.3) / height, f"{one.name}: epoch {epoch}", fontsize=10)
        boxes = [
            ((column * WIDTH + 0.5) / width, (top - HEIGHT + 1.05) / height, (WIDTH - 0.65) / width, 1.85 / height)
            for column in range(columns)
        ]
        *planes, last = [figure.add_axes(box) for box in boxes[: max(1, len(one.surfaces)) + 1]]
        for column, (panel, (title, surface)) in enumerate(zip(planes, _titled(one.surfaces))):
            _plane(panel, one.arrays, title, surface, first=column == 0)
        _histogram(last, one.arrays)
    left_out = f"; the first {len(shown)} cells" if len(shown) < len(found) else ""
    note = f"shade: weight, from light to dark; points: samples (blue clean, orange corrupted, if known){left_out}"
    figure.text(0.01, 0.08 / height, note, fontsize=8)
    save(figure, path)
    return figure


def weights(s_y: "np.ndarray", s_max: "np.ndarray", alpha: float, beta: float, delta: float) -> "list[np.ndarray]":
    """W_alpha, W_beta, W_delta (LiLAW, Eq. 2-4), each in the shape of s_y."""
    import numpy as np

    easy, hard = (1 / (1 + np.exp(-sign * (value * s_y - s_max))) for sign, value in ((1, alpha), (-1, beta)))
    return [easy, hard, np.exp(-((delta * s_y - s_max) ** 2) / 2)]


def _surfaces(run: "DataFrame") -> "dict[str, np.ndarray]":
    """By the parameters of the last epoch; where s_y would be above s_max there is nothing."""
    import numpy as np

    epochs = read_metrics(run["folder"], "epoch")
    if not set(PARAMETERS) <= set(epochs):
        return {}
    values = dict(zip(PARAMETERS, epochs[list(PARAMETERS)].iloc[-1].tolist()))
    s_max, s_y = np.meshgrid(np.linspace(0, 1, GRID), np.linspace(0, 1, GRID))
    terms = dict(zip(PARAMETERS, weights(s_y, s_max, **values)))
    included = run.get("config.method.terms")
    terms = {name: term for name, term in terms.items() if not isinstance(included, list) or name in included}
    above = s_y > s_max + 1e-9
    surfaces = {f"W_{name}, {name} = {values[name]:.3g}": np.where(above, np.nan, one) for name, one in terms.items()}
    if len(terms) > 1 and not run.get("config.method.scales"):
        surfaces["W, their sum"] = np.sum(list(surfaces.values()), axis=0)
    return surfaces


def _titled(surfaces: "dict[str, np.ndarray]") -> "list[tuple[str, np.ndarray | None]]":
    """Surfaces with their titles; of a method without any, the plane alone."""
    return [*surfaces.items()] or [("weight", None)]


def _plane(
    panel: "Axes", arrays: "dict[str, np.ndarray]", title: str, surface: "np.ndarray | None", first: bool
) -> None:
    if surface is not None:
        panel.imshow(surface, origin="lower", extent=(0, 1, 0, 1), cmap="Greys", aspect="auto", alpha=0.8)
    for chosen, colour in _by_kind(arrays).values():
        panel.scatter(arrays["s_max"][chosen], arrays["s_y"][chosen], s=3, color=colour, alpha=0.5, linewidths=0)
    panel.set(xlim=(0, 1.01), ylim=(-0.01, 1.01))
    above(panel, title, 9)
    panel.set_xlabel("s_max", fontsize=9)
    panel.set_ylabel("s_y" if first else "", fontsize=9)
    panel.tick_params(labelsize=7)


def _histogram(panel: "Axes", arrays: "dict[str, np.ndarray]") -> None:
    import numpy as np

    weight = arrays["weight"]
    bins = np.linspace(min(0.0, weight.min()), max(weight.max(), 1e-6) * 1.001, BINS + 1).tolist()
    for kind, (chosen, colour) in _by_kind(arrays).items():
        panel.hist(weight[chosen], bins, color=colour, alpha=0.55, label=kind)
    above(panel, "samples by weight", 9)
    panel.set_xlabel("weight", fontsize=9)
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=7, frameon=False)


def _by_kind(arrays: "dict[str, np.ndarray]") -> "dict[str, tuple[np.ndarray, str]]":
    """Which samples are clean, which corrupted, and the colour of each; "all" where nobody knows."""
    import numpy as np

    if "corrupted" not in arrays:
        return {"all": (np.ones(len(arrays["weight"]), dtype=bool), CLEAN)}
    wrong = arrays["corrupted"]
    found = {"clean": (~wrong, CLEAN), "corrupted": (wrong, CORRUPTED)}
    return {kind: each for kind, each in found.items() if each[0].any()}
