"""From cells to printed tables: an overview that is narrow enough to read, and the details, a line per cell."""

import itertools
from collections.abc import Sequence

from lilawbench.report.captions import compared_with, details_caption, heading
from lilawbench.report.cells import Cell
from lilawbench.report.document import Section, Table, Value, markdown_width
from lilawbench.report.grid import Grid
from lilawbench.report.measured import shown_p

IDLE = "†"  # marks a cell whose method never acted
WIDEST = 140  # characters of an overview in Markdown
TESTS = ["t-test p", "Wilcoxon p", "t-test p (Holm)", "Wilcoxon p (Holm)"]


def section(grid: Grid, cells: Sequence[Cell], name: str | None = None) -> Section:
    """The tables of some compared cells: of one metric, or of several in one column.

    Args:
        name: of the section; None: what is measured.
    """
    groups = _groups(grid, cells)
    tables = [_overview(grid, cells, groups), _details(grid, cells, groups)]
    return Section(name or heading(cells), [table for table in tables if table is not None])


def _groups(grid: Grid, cells: Sequence[Cell]) -> list[str]:
    """The column of each cell, or its metric if there are several."""
    measured = list(dict.fromkeys(cell.measured for cell in cells))
    if len(measured) == 1:
        return [cell.column for cell in cells]
    rules = len({one.rule for one in measured}) > 1
    return [cell.measured.title + cell.measured.at * rules for cell in cells]


def _overview(grid: Grid, cells: Sequence[Cell], groups: list[str]) -> Table | None:
    """Rows x columns or the transpose, whichever is narrow enough; None: neither, or the details say the same."""
    shown = {(cell.row, group): _with_paper(cell) for cell, group in zip(cells, groups)}
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*shown))
    if len(columns) == 1:
        return None
    beside = " (the paper's)" if any(cell.published for cell in cells) else ""
    caption = f"{grid.name}, {heading(cells)}: mean ± sample std over seeds{beside}."
    if never := " or ".join(dict.fromkeys(cell.idle for cell in cells if cell.idle)):
        caption += f" {IDLE} {never}, see the notes."
    for down, across, flip in ((rows, columns, False), (columns, rows, True)):
        lines = [[one, *(shown.get((other, one) if flip else (one, other), "-") for other in across)] for one in down]
        table = Table(caption, ["", *across], lines, len(across))
        if markdown_width(table) <= WIDEST:
            return table
    return None


def _details(grid: Grid, cells: Sequence[Cell], groups: list[str]) -> Table:
    if grid.planned:  # cells that are neither planned nor published have no line
        shown = [bool(cell.planned or cell.published) for cell in cells]
        cells, groups = [*itertools.compress(cells, shown)], [*itertools.compress(groups, shown)]
    several, has_paper = len(set(groups)) > 1, any(cell.published for cell in cells)
    to = compared_with(grid, cells)
    one_metric = len({cell.measured for cell in cells}) == 1
    header = [(grid.labels[1] if one_metric else "metric")] * several + [grid.labels[0]]
    words = len(header)
    header += ["seeds", "ours" if has_paper or not one_metric else cells[0].measured.title]
    header += ["paper", "ours - paper"] * has_paper
    if to is not None:
        header += [f"difference to {to}".strip(), *TESTS]
    lines = []
    for cell, group in zip(cells, groups):
        name = f"{cell.row} ({cell.idle})" if cell.idle else cell.row
        line = [group] * several + [name, _seeds(cell, grid.planned is not None), _ours(cell)]
        if has_paper:
            line += [cell.measured.spread(*cell.paper), cell.measured.signed(_to_paper(cell))]
        if to is not None:
            difference = cell.measured.signed(cell.comparison.mean_difference)
            line.append(difference if to or difference == "-" else f"{cell.baseline} {difference}")
            line += map(shown_p, (cell.comparison.t_p, cell.comparison.wilcoxon_p, cell.t_holm, cell.wilcoxon_holm))
        lines.append(line)
    records = [_record(grid, cell, to is not None) for cell in cells]
    return Table(details_caption(grid, cells), header, lines, len(header) - words, records)


def _ours(cell: Cell) -> str:
    return "conflict" if cell.conflicts else cell.measured.spread(cell.mean, cell.std) + f" {IDLE}" * bool(cell.idle)


def _with_paper(cell: Cell) -> str:
    paper = cell.measured.spread(*cell.paper)
    return _ours(cell) if paper == "-" else f"{_ours(cell)} ({paper})"


def _to_paper(cell: Cell) -> float | None:
    paper, _ = cell.paper
    return None if cell.mean is None or paper is None else cell.mean - paper


def _seeds(cell: Cell, planned: bool) -> str:
    if planned and not cell.planned:
        return "-"
    done, pairs = len(cell.runs), cell.comparison.n
    shown = f"{done} of {cell.planned}" if planned and done < cell.planned else f"{done}"
    return f"{shown} ({pairs} paired)" if 0 < pairs < done else shown


def _record(grid: Grid, cell: Cell, compared: bool) -> dict[str, Value]:
    """The cell's line of the CSV."""
    of_plan: dict[str, Value] = {}
    if grid.planned:
        table, (paper, paper_std) = grid.planned.plan.table, cell.paper
        of_plan = {
            "experiment": grid.planned.plan.name,
            "paper": table.paper,
            "table": table.number,
            "unit": cell.measured.unit,
            "planned": cell.planned,
            "conflicts": len(cell.conflicts),
            "paper_mean": paper,
            "paper_std": paper_std,
            "ours_minus_paper": _to_paper(cell),
        }
    row, column = grid.labels
    record: dict[str, Value] = {
        "metric": cell.measured.metric,
        "select": cell.measured.rule,
        column: cell.column,
        row: cell.row,
        "seeds": len(cell.runs),
        "mean": cell.mean,
        "std": cell.std,
        **({"never": cell.idle} if cell.idle else {}),
    }
    of_comparison: dict[str, Value] = {
        "baseline": cell.baseline,
        "pairs": cell.comparison.n,
        "mean_difference": cell.comparison.mean_difference,
        "t_p": cell.comparison.t_p,
        "wilcoxon_p": cell.comparison.wilcoxon_p,
        "t_p_holm": cell.t_holm,
        "wilcoxon_p_holm": cell.wilcoxon_holm,
    }
    return of_plan | record | (of_comparison if compared or grid.planned else {})
