"""Several methods over several settings at once: average ranks, Friedman's test and a critical-difference diagram."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.report.figure import save, with_unique_names
from lilawbench.report.names import tasks
from lilawbench.report.tables import SELECTIONS
from lilawbench.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

LEAST_METHODS = 3
LEAST_BLOCKS = 5
ALPHA = 0.05
RULES = ("best_val", "last")


@dataclass(frozen=True)
class Ranking:
    """What `rank` finds. A rank of 1 is the best, ties share the mean of their ranks."""

    methods: list[str]  # by ascending average rank
    ranks: list[float]  # average ranks, in that order
    blocks: int  # data sets, or whatever was ranked within
    chi2: float  # Friedman's statistic, corrected for ties
    p: float  # of Friedman's test
    critical_difference: float  # average ranks further apart than this differ at 5 %, by Nemenyi's test
    unit: str = "blocks"  # what the blocks are

    @property
    def groups(self) -> list[list[str]]:
        """The largest sets of neighbours that the test cannot tell apart, of two methods or more, best first."""
        found: list[range] = []
        for first, rank in enumerate(self.ranks):
            after = next((i for i, r in enumerate(self.ranks) if r - rank > self.critical_difference), len(self.ranks))
            if after - first > 1 and (not found or after > found[-1].stop):
                found.append(range(first, after))
        return [[self.methods[i] for i in group] for group in found]

    @property
    def shown_p(self) -> str:
        return "< 0.0001" if self.p < 0.00005 else f"= {self.p:.4f}"

    def __str__(self) -> str:
        ranks = ", ".join(f"{method} {rank:.2f}" for method, rank in zip(self.methods, self.ranks))
        groups = "; ".join(", ".join(group) for group in self.groups) or "none"
        return (
            f"average ranks over {self.blocks} {self.unit} (1 is best): {ranks}. Friedman chi2 = {self.chi2:.2f}, "
            f"p {self.shown_p}; critical difference at 5 % (Nemenyi) {self.critical_difference:.2f}; "
            f"not told apart: {groups}."
        )


def rank(scores: "DataFrame", unit: str = "blocks") -> Ranking:
    """Average ranks of methods, and which of them differ over all blocks taken together.

    Args:
        scores: larger is better; one row per block, a column per method, at least 3 methods and 2 blocks, all finite.
        unit: what a block is, in the plural.
    Raises:
        ValueError: fewer, or a score that is not finite.
    Source: Demsar 2006, Section 3.2 (Friedman 1937, Nemenyi 1963); scipy.stats has the distributions.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    values = np.round(scores.to_numpy(dtype=np.float64), 12)  # ties as in `compare_paired`
    blocks, count = values.shape
    if count < LEAST_METHODS or blocks < 2 or not np.isfinite(values).all():
        raise ValueError(f"ranks need 3 methods and 2 blocks of finite scores, got {count} methods and {blocks} blocks")
    mean = rankdata(-values, axis=1).mean(axis=0)
    order = sorted(range(count), key=lambda i: (mean[i], str(scores.columns[i])))
    equal = bool((values == values[:, :1]).all())  # no test can be made of nothing but ties
    chi2, p = (0.0, 1.0) if equal else friedmanchisquare(*values.T)
    difference = (
        studentized_range.ppf(1 - ALPHA, count, np.inf) / np.sqrt(2) * np.sqrt(count * (count + 1) / 6 / blocks)
    )
    names = [str(scores.columns[i]) for i in order]
    return Ranking(names, [float(mean[i]) for i in order], blocks, float(chi2), float(p), float(difference), unit)


def ranking(cells: "DataFrame") -> Ranking | None:
    """Ranks the methods of a table over its cells, or over cells x seeds where it has fewer than five cells.

    A cell counts if every method has it, by the seeds that all of them have there.

    Args:
        cells: columns cell, method, seed, score (larger is better; NaN counts as missing), one row per run.
    Returns:
        None for fewer than 3 methods or 5 blocks.
    """
    wide = cells.pivot(index=["cell", "seed"], columns="method", values="score").dropna()
    if wide.shape[1] < LEAST_METHODS:
        return None
    over_cells = wide.groupby(level="cell").mean()
    if len(over_cells) >= LEAST_BLOCKS:
        return rank(over_cells, "cells (means over their seeds)")
    if len(wide) < LEAST_BLOCKS:
        return None
    shared = f"of {len(over_cells)} cell{'s' * (len(over_cells) > 1)}"
    return rank(wide, f"seeds {shared} (no independent data sets, so p is too low)")


def rankings(runs: "DataFrame", rules: Sequence[str] = RULES) -> dict[str, Ranking]:
    """`ranking` of finished runs, from `collect`, by selection rule; their settings are the cells.

    Raises: UserError, two runs share setting, method and seed.
    """
    import pandas as pd

    named = with_unique_names(runs)
    found = {}
    for rule in rules:
        scores = pd.Series(np.nan, index=named.index)
        for task in TASKS.values():
            if (key := f"{rule}.test_{task.measure}") in named:
                of = tasks(named) == task.name
                scores[of] = pd.to_numeric(named.loc[of, key]) * (1 if task.maximise else -1)
        cells = pd.DataFrame({"cell": named["scene"], "method": named["method"], "seed": named["config.seed"]})
        if result := ranking(cells.assign(score=scores)):
            found[rule] = result
    return found


def plot_ranks(runs: "DataFrame", path: str | Path) -> "Figure | None":
    """Critical-difference diagrams, one per selection rule: methods at their average ranks, bars join those that
    Nemenyi's test cannot tell apart at 5 %.

    Args:
        runs: finished runs, from `collect`; not empty.
        path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, for fewer than 3 methods or 5 blocks.
    Source: Demsar 2006, Figure 1.
    """
    return draw_ranks(rankings(runs), path)


def draw_ranks(found: "dict[str, Ranking]", path: str | Path) -> "Figure | None":
    """The picture of `plot_ranks`, from rankings by selection rule."""
    from matplotlib.figure import Figure

    if not found:
        return None
    heights = [1.5 + 0.24 * (len(ranking.methods) + 1) // 2 + 0.16 * len(ranking.groups) for ranking in found.values()]
    figure = Figure(figsize=(8.4, sum(heights) + 0.3), layout="constrained")
    axes = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (rule, ranking) in zip(axes, found.items()):
        _diagram(panel, ranking)
        panel.set_title(f"{rule}: {SELECTIONS.get(rule, rule)}\nFriedman p {ranking.shown_p}", loc="left", fontsize=11)
    units = dict.fromkeys(f"{ranking.blocks} {ranking.unit}" for ranking in found.values())
    figure.supxlabel(f"average rank (1 is best) over {'; '.join(units)}", fontsize=9)
    save(figure, path)
    return figure


def _diagram(panel: "Axes", ranking: Ranking) -> None:
    """Axis of ranks on top, the better half of the methods named on its left below it, the others on its right."""
    count, groups = len(ranking.methods), ranking.groups
    left = (count + 1) // 2
    first_label = 0.9 + 0.45 * len(groups)
    line = {"color": "black", "linewidth": 1.0, "clip_on": False}
    panel.set_axis_off()
    panel.set_xlim(1 - 0.35 * count, count * 1.35)
    panel.set_ylim(first_label + 0.7 * left, -1.9)
    panel.plot([1, count], [0, 0], **line)
    for tick in range(1, count + 1):
        panel.plot([tick, tick], [0, -0.2], **line)
        panel.text(tick, -0.3, str(tick), ha="center", va="bottom", fontsize=10)
    width = min(ranking.critical_difference, count - 1)
    panel.plot([1, 1 + width], [-1.25, -1.25], **line)
    for end in (1, 1 + width):
        panel.plot([end, end], [-1.1, -1.4], **line)
    shown = f"critical difference {ranking.critical_difference:.2f}"
    panel.text(1 + width / 2, -1.35, shown, ha="center", va="bottom", fontsize=9)
    for i, (method, mean) in enumerate(zip(ranking.methods, ranking.ranks)):
        on_left = i < left
        depth = first_label + 0.7 * (i if on_left else count - 1 - i)
        end = 0.8 if on_left else count + 0.2
        panel.plot([mean, mean, end], [0, depth, depth], **line)
        label = f"{method}  {mean:.2f}" if on_left else f"{mean:.2f}  {method}"
        panel.text(end + (-0.06 if on_left else 0.06), depth, label, ha="right" if on_left else "left", va="center")
    for number, group in enumerate(groups):
        ends = [ranking.ranks[ranking.methods.index(method)] for method in (group[0], group[-1])]
        height = 0.45 + 0.45 * number
        panel.plot(
            [ends[0] - 0.04, ends[1] + 0.04], [height, height], color="#D55E00", linewidth=4, solid_capstyle="butt"
        )
