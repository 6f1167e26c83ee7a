"""A section as a terminal shows it: a line for each row with what one looks for first; the files have the rest."""

import itertools
from collections.abc import Sequence

from lilawbench.report.captions import FEW_PAIRS, MANY, compared_with, counted, progress
from lilawbench.report.cells import Cell
from lilawbench.report.document import Short, Table
from lilawbench.report.grid import Grid
from lilawbench.report.measured import shown_p
from lilawbench.report.spelled import (
    COST,
    IDLE,
    LEVEL,
    TOLD,
    costs,
    difference,
    equivalence,
    marks,
    never,
    ours,
    seeds,
    told,
    with_paper,
)

MOST = 60  # lines of a section; a larger one has no comparisons


def short(grid: Grid, cells: Sequence[Cell], groups: Sequence[str]) -> Short:
    """Args: groups: of each cell, in order, its column or metric."""
    by_group = {
        name: [cell for cell, _ in of] for name, of in itertools.groupby(zip(cells, groups), lambda one: one[1])
    }
    titles = {cell.measured.title + cell.measured.at: None for cell in cells}
    title = ": ".join([grid.name, *titles] if len(titles) == 1 else [grid.name])
    legend = [*_legend(cells), *progress(grid)]
    if len(by_group) == 1:
        return Short(title, [_compared(grid, "", cells)], legend)
    if len(cells) <= MOST:
        return Short(title, [_compared(grid, *one) for one in by_group.items()], legend)
    return Short(title, [_values(by_group)], [*_marks(cells), *progress(grid)])


def _compared(grid: Grid, caption: str, cells: Sequence[Cell]) -> Table:
    """A line for each row: its value, its difference to the baseline, one p."""
    to = compared_with(grid, cells)
    tested = any(cell.comparison.tested for cell in cells)
    has_paper, rope = any(cell.published for cell in cells), any(cell.equivalence for cell in cells)
    header = [grid.labels[0], "mean ± std" if any(cell.std is not None for cell in cells) else "value"]
    header += ["paper"] * has_paper
    if to is not None:
        header += ["difference" + f" to {to}" * bool(to) + " [95 %]" * tested]
    cost = costs(cells)
    header += ["p (Holm)"] * tested + ["below, within, above"] * rope + ["cost"] * bool(cost) + ["n"]
    lines, widest = [], max(len(marks(cell)) for cell in cells)
    for number, cell in enumerate(cells):
        value = ours(cell) + " " * (widest - len(marks(cell)))  # numbers stand below each other
        line = [cell.row, value, *[cell.measured.spread(*cell.paper)] * has_paper]
        if to is not None:
            line.append(difference(cell, to, cell.comparison.ci))
        line += [shown_p(cell.p_t_holm)] * tested + [equivalence(cell)] * rope
        line += [cost[number]] if cost else []
        lines.append([*line, seeds(cell, grid.planned is not None)])
    bold = frozenset((number, 1) for number, cell in enumerate(cells) if cell.bold)
    return Table(caption, header, lines, len(header) - 1, bold=bold)


def _values(by_group: dict[str, list[Cell]]) -> Table:
    """Rows x columns."""
    shown = {(cell.row, group): cell for group, cells in by_group.items() for cell in cells}
    rows = list(dict.fromkeys(row for row, _ in shown))
    lines = [
        [row, *(with_paper(shown[row, name]) if (row, name) in shown else "-" for name in by_group)] for row in rows
    ]
    places = [(i, j, shown.get((row, name))) for i, row in enumerate(rows) for j, name in enumerate(by_group, start=1)]
    bold = frozenset((i, j) for i, j, cell in places if cell is not None and cell.bold)
    return Table("", ["", *by_group], lines, len(by_group), bold=bold)


def _legend(cells: Sequence[Cell]) -> list[str]:
    pairs = [cell.comparison.n for cell in cells if cell.comparison.tested]
    if not pairs:
        return _marks(cells)
    tests = f"p of the paired t-test, Holm over {counted(sum(cell.comparison.p_t is not None for cell in cells))}."
    few = [FEW_PAIRS] * (min(pairs) < MANY)
    return [f"Differences are paired by seed, with 95 % intervals; {tests}", *few, *_marks(cells)]


def _marks(cells: Sequence[Cell]) -> list[str]:
    level = any(cell.level for cell in cells)
    said = [f"{LEVEL}: no test tells it from the best."] * level
    said += [f"{IDLE}: {why}."] if (why := never(cells)) else []
    said += [f"{TOLD}: {why}."] if (why := told(cells)) else []
    return said + [COST] * bool(costs(cells))
