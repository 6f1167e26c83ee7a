"""Compares the cells of a table, over the seeds they share: each with its baseline, and with the best of its column."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lilawbench.report.cells import Cell, Run
from lilawbench.report.grid import Grid
from lilawbench.report.stats import compare_paired, compare_t, equivalence, holm, paired_differences
from lilawbench.support.errors import UserError


class Pair(NamedTuple):
    """Two runs of one seed."""

    ours: Run
    other: Run

    @property
    def alike(self) -> bool:
        """Whether both saw the same labels."""
        return self.ours.labels is not None and self.ours.labels == self.other.labels


def compare(grid: Grid, cells: Sequence[Cell], rope: float | None = None) -> None:
    """Compares each cell with its baseline's, and with the best of its column (`mark_best`), in place.

    Holm's correction is over all cells, per test.

    Args:
        rope: differences up to it count as none, in the printed unit, such as percentage points (see
            `stats.equivalence`); None: not asked for.
    Raises:
        UserError: a run and its baseline's have different labels.
    """
    there = {(cell.measured, cell.row, cell.column): cell for cell in cells if cell.planned}
    for cell in cells:
        base = there.get((cell.measured, grid.baselines.get((cell.row, cell.column), ""), cell.column))
        if base is not None and base is not cell and cell.measured.unit != "rows":
            cell.baseline = base.row
            found = _same_labels(pairs(cell.runs, base.runs))
            ours, others = _values(found)
            cell.comparison = compare_paired(ours, others)
            differences = paired_differences(ours, others)
            cell.differences = {pair.ours.seed: float(one) for pair, one in zip(found, differences, strict=True)}
            if rope is not None:
                cell.equivalence = equivalence(differences, rope / cell.measured.printed)
    t, wilcoxon = (holm([getattr(cell.comparison, test) for cell in cells]) for test in ("p_t", "p_wilcoxon"))
    for cell, of_t, of_wilcoxon in zip(cells, t, wilcoxon, strict=True):
        cell.p_t_holm, cell.p_wilcoxon_holm = of_t, of_wilcoxon
    mark_best(cells)


def mark_best(cells: Iterable[Cell]) -> None:
    """Marks the best mean of each metric and column, and tests the others against it, in place.

    Rows of other labels have a best of their own. A metric has none if it is not known whether more of it is better.
    Paired t-tests; Holm's correction is over those of one best, since each column is a question of its own: which rows
    may be the best there? The best is chosen by the same runs that it is tested with, which tells others from it a
    little too often.
    """
    for group in _comparable(cells):
        scores = [round(cell.measured.better * float(np.mean([run.value for run in cell.runs])), 12) for cell in group]
        first = group[scores.index(max(scores))]
        for cell, score in zip(group, scores, strict=True):
            cell.best = score == max(scores)
        others = [cell for cell in group if not cell.best]
        for cell in others:
            cell.to_best = compare_t(*_values(pairs(cell.runs, first.runs)))
        for cell, p in zip(others, holm([cell.to_best.p_t for cell in others]), strict=True):
            cell.p_best_holm = p


def pairs(ours: Iterable[Run], others: Iterable[Run]) -> list[Pair]:
    """The runs of two cells by seed; a cell has each seed once. A seed that one cell lacks is left out."""
    by_seed = {run.seed: run for run in others}
    return [Pair(run, by_seed[run.seed]) for run in sorted(ours, key=lambda run: run.seed) if run.seed in by_seed]


def _same_labels(found: list[Pair]) -> list[Pair]:
    """Raises: UserError, if the runs of a pair have different observed labels."""
    for pair in found:
        if not pair.alike:
            run, other = pair
            raise UserError(
                f"not paired: seed {run.seed} has different observed labels (labels.sha256) in\n"
                f"  {run.folder} ({run.row})\n  {other.folder} ({other.row})\n"
                "Run one of them again with the same data and version of lilawbench as the other."
            )
    return found


def _values(found: list[Pair]) -> tuple[list[float], list[float]]:
    return [pair.ours.value for pair in found], [pair.other.value for pair in found]


def _comparable(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Groups of two or more cells of one metric and column whose runs of one seed saw the same labels."""
    groups: dict[tuple[object, str], list[list[Cell]]] = {}
    for cell in cells:
        if not cell.runs or not cell.measured.better:
            continue
        of_column = groups.setdefault((cell.measured, cell.column), [])
        for group in of_column:
            found = pairs(cell.runs, group[0].runs)
            if found and all(pair.alike for pair in found):
                group.append(cell)
                break
        else:
            of_column.append([cell])
    return [group for of_column in groups.values() for group in of_column if len(group) > 1]
