"""Matrices of classes: how clean labels became observed ones, and what was predicted of test rows."""

import csv
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.record.marks import REPAIR
from lilawbench.report.collect import has_labels, read_labels
from lilawbench.report.figures.drawing import above, cells, save
from lilawbench.report.measured import class_names, column
from lilawbench.report.names import natural
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

SIDE = 3.4  # inches of a matrix
ACROSS = 3
MOST = 12  # matrices
WRITTEN = 12  # classes, up to which shares and names are written in
LEAST = 0.02  # a share that is written in
RULES = ("best_val", "last")


def plot_transitions(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """The realised transition matrix [%] of each setting: of the labelled samples of each clean class, how many have
    which observed label. Over all seeds; methods have the same labels. The first 12 settings.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if clean labels are unknown, all are as observed, or a sample has several.
    Raises:
        DataError: labels.npz of a run is damaged.
    """
    shown = []
    for setting in sorted(runs["scene"].unique(), key=natural):
        here = runs[runs["scene"] == setting].drop_duplicates("config.seed")
        if (counts := _transitions(here)) is not None:
            shown.append((setting, counts, class_names(here)))
        if len(shown) > MOST:  # a thousand runs need not all be opened
            break
    return _matrices(shown, path, "clean label", "observed label")


def plot_confusion(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """The confusion matrix [%] of each cell: of the test rows of each class, how many are predicted as which one. Over
    all seeds, at best_val where the runs have it. The first 12 cells.

    Args:
        runs: named, from `with_unique_names`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, if no run has recorded one.
    """
    import numpy as np

    shown = []
    for name, cell in cells(runs):
        for rule in RULES:
            found = [np.array(one) for one in column(cell, f"{rule}.confusion") if isinstance(one, list)]
            found = found or [one for folder in cell["folder"] if (one := _of_file(folder, rule)) is not None]
            if found and len({one.shape for one in found}) == 1:
                shown.append((f"{name}, {rule}", sum(found), class_names(cell)))
                break
        if len(shown) > MOST:
            break
    return _matrices(shown, path, "label", "predicted")


def _of_file(folder: str, rule: str) -> "np.ndarray | None":
    """Counts [K, K] of a run of many classes, which result.json leaves to confusion.csv; None: the file was not kept,
    or has nothing of this rule (a run without validation rows has no best_val).

    Raises: DataError, the file is damaged.
    """
    import numpy as np

    path = Path(folder) / "confusion.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row[2:] for row in csv.reader(file) if row and row[0] == rule]
        return np.array(rows, dtype=np.int64) if rows else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}. {REPAIR}") from None


def _transitions(runs: "DataFrame") -> "np.ndarray | None":
    """Counts [K, K], rows: clean, columns: observed; None: unknown, or nothing to see."""
    import numpy as np

    total = None
    for folder in filter(has_labels, runs["folder"]):
        labels = read_labels(folder)
        known, observed = labels.get("clean"), labels.get("observed")
        if known is None or observed is None or known.ndim != 1 or known.dtype.kind not in "iu":
            continue
        size = int(max(known.max(initial=0), observed.max(initial=0))) + 1
        counts = np.bincount(known * size + observed, minlength=size * size).reshape(size, size)
        total = counts if total is None else total + counts if total.shape == counts.shape else total
    return None if total is None or not (total - np.diag(np.diag(total))).any() else total


def _matrices(shown: Sequence[tuple], path: str | Path, down: str, across: str) -> "Figure | None":
    """A panel for each (title, counts [K, K], names of the classes)."""
    if not shown:
        return None
    from matplotlib.figure import Figure

    drawn = shown[:MOST]
    columns = min(ACROSS, len(drawn))
    rows = -(-len(drawn) // columns)
    width, height = columns * (SIDE + 0.9), rows * (SIDE + 1.1) + 0.3
    figure = Figure(figsize=(width, height))
    for number, (title, counts, names) in enumerate(drawn):
        row, column_ = divmod(number, columns)
        left, top = column_ * (SIDE + 0.9) + 0.8, height - row * (SIDE + 1.1) - 0.45
        panel = figure.add_axes((left / width, (top - SIDE) / height, SIDE / width, SIDE / height))
        _draw(panel, counts, names, _wrapped(title, 46))
        panel.set_xlabel(across, fontsize=9)
        panel.set_ylabel(down if column_ == 0 else "", fontsize=9)
    left_out = f"; the first {len(drawn)}" if len(drawn) < len(shown) else ""
    figure.text(0.01, 0.08 / height, f"percent of each row; white: none, dark: all{left_out}", fontsize=8)
    save(figure, path)
    return figure


def _draw(panel: "Axes", counts: "np.ndarray", names: Sequence[str], title: str) -> None:
    import numpy as np

    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    above(panel, title, 9)
    panel.tick_params(labelsize=7)
    size = len(share)
    if size > WRITTEN:
        return
    short = [str(name)[:8] for name in names] if len(names) == size else [str(number) for number in range(size)]
    panel.set_xticks(range(size), short, rotation=45 if max(map(len, short)) > 2 else 0)
    panel.set_yticks(range(size), short)
    for row, column_ in np.ndindex(share.shape):
        if (value := share[row, column_]) >= LEAST:
            colour = "white" if value > 0.5 else "black"
            panel.text(column_, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)


def _wrapped(title: str, width: int) -> str:
    return "\n".join(textwrap.wrap(title, width)[:2])
