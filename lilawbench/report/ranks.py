"""Compares several methods over several settings: average ranks, Friedman's and Nemenyi's tests.

scikit-posthocs is imported only where ranks are computed, since that takes longer than everything else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.report.cells import Cell
from lilawbench.report.stats import ALPHA
from lilawbench.tasks import TASKS

if TYPE_CHECKING:
    from pandas import DataFrame

LEAST_METHODS = 3
LEAST_BLOCKS = 5


@dataclass(frozen=True)
class Ranking:
    """The result of `rank`. Rank 1 is the best; ties share the mean of their ranks."""

    methods: list[str]  # by ascending average rank
    ranks: list[float]  # average ranks, in that order
    blocks: int  # number of data sets, or of whatever else was ranked within
    chi2: float  # Friedman's statistic, corrected for ties
    p: float  # of Friedman's test
    critical_difference: float  # average ranks further apart than this differ at 5 %, by Nemenyi's test
    pairs: "DataFrame"  # p of every two methods, by Nemenyi's test
    unit: str = "blocks"  # what a block is, in the plural

    @property
    def groups(self) -> list[list[str]]:
        """The largest sets of neighbouring methods, two or more, that do not differ significantly, best first."""
        found: list[range] = []
        for first, method in enumerate(self.methods):
            last = max(i for i, other in enumerate(self.methods) if self.pairs.loc[method, other] >= ALPHA)
            if last > first and (not found or last >= found[-1].stop):
                found.append(range(first, last + 1))
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
            f"no significant difference: {groups}."
        )


def rank(scores: "DataFrame", unit: str = "blocks") -> Ranking:
    """Average ranks of methods, and which of them differ significantly over all blocks.

    Args:
        scores: larger is better; one row per block, a column per method, at least 3 methods and 2 blocks, all finite.
        unit: what a block is, in the plural.
    Raises:
        ValueError: fewer, or a score that is not finite.
    Source: Demsar 2006, Section 3.2 (Friedman 1937, Nemenyi 1963), computed by scipy and scikit-posthocs.
    """
    blocks, count = scores.shape
    values = scores.astype(float).round(12)  # ties as in `compare_paired`
    if count < LEAST_METHODS or blocks < 2 or not np.isfinite(values).all(axis=None):
        raise ValueError(f"ranks need 3 methods and 2 blocks of finite scores, got {count} methods and {blocks} blocks")
    from scikit_posthocs import posthoc_nemenyi_friedman
    from scipy.stats import friedmanchisquare, studentized_range

    values.columns = [str(name) for name in values]
    mean = values.rank(axis=1, ascending=False).mean()
    mean = mean[sorted(mean.index, key=lambda name: (mean[name], name))]
    equal = bool(values.eq(values.iloc[:, 0], axis=0).all(axis=None))  # all ties: there is nothing to test
    chi2, p = (0.0, 1.0) if equal else friedmanchisquare(*values.to_numpy().T)
    apart = studentized_range.ppf(1 - ALPHA, count, np.inf) * np.sqrt(count * (count + 1) / 12 / blocks)
    pairs = posthoc_nemenyi_friedman(values.reset_index(drop=True))
    return Ranking([*mean.index], mean.tolist(), blocks, float(chi2), float(p), float(apart), pairs, unit)


def ranking(scores: "DataFrame") -> Ranking | None:
    """Ranks the methods of a table over its cells, each with the mean over seeds.

    A cell counts if every method has it, with the seeds that all of them share there. Seeds of one cell are no blocks:
    they are not independent settings, and p would be too low.

    Args:
        scores: columns cell, method, seed, score (larger is better; NaN counts as missing), one row per run.
    Returns:
        None for fewer than 3 methods or 5 cells.
    """
    wide = scores.pivot(index=["cell", "seed"], columns="method", values="score").dropna()
    if wide.shape[1] < LEAST_METHODS:
        return None
    over_cells = wide.groupby(level="cell").mean()
    return rank(over_cells, "cells (means over seeds)") if len(over_cells) >= LEAST_BLOCKS else None


def rankings(cells: Iterable[Cell]) -> dict[str, Ranking]:
    """The ranking of the rows over the columns by their task's main metric, for each selection rule.

    Where no rule chooses the epoch (`Table.result_keys`) by the metric, under its title; the larger, the better.
    """
    import pandas as pd

    scores: dict[str, dict[tuple[str, str, int], float]] = {}
    for cell in cells:
        for run in cell.runs:
            task = TASKS[run.task]
            if cell.measured.metric == f"test_{task.measure}" or not cell.measured.rule:
                score = run.value if task.maximise or not cell.measured.rule else -run.value
                by = cell.measured.rule or cell.measured.title
                scores.setdefault(by, {})[cell.column, cell.row, run.seed] = score
    names = ["cell", "method", "seed", "score"]
    tables = {rule: [(*place, score) for place, score in of.items()] for rule, of in scores.items()}
    found = {rule: ranking(pd.DataFrame(rows, columns=names)) for rule, rows in tables.items()}
    return {rule: one for rule, one in found.items() if one is not None}
