"""From cells to printed tables: an overview that is narrow enough to read, and the details, a line per cell."""

import itertools
from collections.abc import Sequence

from lilawbench.report.captions import compared_with, could_see, details_caption, heading
from lilawbench.report.cells import Cell
from lilawbench.report.document import Section, Table, Value, markdown_width
from lilawbench.report.grid import Grid
from lilawbench.report.headline import headline
from lilawbench.report.measured import shown_p
from lilawbench.report.short import short
from lilawbench.report.spelled import (
    IDLE,
    TOLD,
    costs,
    difference,
    equivalence,
    never,
    ours,
    seeds,
    to_paper,
    told,
    with_paper,
)

WIDEST = 140  # characters of an overview in Markdown
INTERVALS = ["95 % interval", "bootstrap", "effect", "detectable"]
TESTS = ["t-test p", "Wilcoxon p", "t-test p (Holm)", "Wilcoxon p (Holm)"]


def section(grid: Grid, cells: Sequence[Cell], name: str | None = None) -> Section:
    """The tables of some compared cells: of one metric, or of several in one column.

    Args:
        name: of the section; None: what is measured.
    """
    groups = _groups(cells)
    wide = _overview(grid, cells, groups)
    if grid.planned:  # cells that are neither planned nor published have no line
        shown = [bool(cell.planned or cell.published) for cell in cells]
        cells, groups = [*itertools.compress(cells, shown)], [*itertools.compress(groups, shown)]
    tables = [_details(grid, cells, groups)]
    return Section(
        name or heading(cells),
        [wide, *tables] if wide else tables,
        short=short(grid, cells, groups),
        headline=headline(grid, cells),
    )


def _groups(cells: Sequence[Cell]) -> list[str]:
    """The column of each cell, or its metric if there are several."""
    measured = list(dict.fromkeys(cell.measured for cell in cells))
    if len(measured) == 1:
        return [cell.column for cell in cells]
    rules = len({one.rule for one in measured}) > 1
    return [cell.measured.title + cell.measured.at * rules for cell in cells]


def _overview(grid: Grid, cells: Sequence[Cell], groups: list[str]) -> Table | None:
    """Rows x columns or the transpose, whichever is narrow enough; None: neither, or the details say the same."""
    shown = {(cell.row, group): with_paper(cell) for cell, group in zip(cells, groups)}
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*shown))
    if len(columns) == 1:
        return None
    beside = " (the paper's)" if any(cell.published for cell in cells) else ""
    caption = f"{grid.name}, {heading(cells)}: mean ± sample std over seeds{beside}."
    if why := never(cells):
        caption += f" {IDLE} {why}, see the notes."
    if why := told(cells):
        caption += f" {TOLD} {why}."
    best = {(cell.row, group) for cell, group in zip(cells, groups) if cell.bold}
    for down, across, flip in ((rows, columns, False), (columns, rows, True)):
        places = [[(other, one) if flip else (one, other) for other in across] for one in down]
        lines = [[one, *(shown.get(place, "-") for place in line)] for one, line in zip(down, places)]
        bold = {(i, j) for i, line in enumerate(places) for j, place in enumerate(line, start=1) if place in best}
        table = Table(caption, ["", *across], lines, len(across), bold=frozenset(bold))
        if markdown_width(table) <= WIDEST:
            return table
    return None


def _details(grid: Grid, cells: Sequence[Cell], groups: list[str]) -> Table:
    several, has_paper = len(set(groups)) > 1, any(cell.published for cell in cells)
    to = compared_with(grid, cells)
    one_metric = len({cell.measured for cell in cells}) == 1
    header = [(grid.labels[1] if one_metric else "metric")] * several + [grid.labels[0]]
    words = len(header)
    header += ["seeds", "ours" if has_paper or not one_metric else cells[0].measured.title]
    value = len(header) - 1
    header += ["paper", "ours - paper"] * has_paper
    cost = costs(cells)
    header += ["cost"] * bool(cost)
    tested = any(cell.comparison.tested for cell in cells)
    rope = any(cell.equivalence for cell in cells)
    if to is not None:
        header += [f"difference to {to}".strip(), *[*INTERVALS, *TESTS] * tested, *["below, within, above"] * rope]
    lines = []
    for number, (cell, group) in enumerate(zip(cells, groups)):
        name = f"{cell.row} ({cell.idle})" if cell.idle else cell.row
        line = [group] * several + [name, seeds(cell, grid.planned is not None), ours(cell)]
        if has_paper:
            line += [cell.measured.spread(*cell.paper), to_paper(cell)]
        line += [cost[number]] if cost else []
        if to is not None:
            line += [difference(cell, to), *_tests(cell) * tested, *[equivalence(cell)] * rope]
        lines.append(line)
    records = [_record(grid, cell, to is not None) for cell in cells]
    bold = frozenset((number, value) for number, cell in enumerate(cells) if cell.bold)
    caption, under = details_caption(grid, cells), could_see(cells)
    return Table(caption, header, lines, len(header) - words, records, bold, under)


def _tests(cell: Cell) -> list[str]:
    """Under INTERVALS and TESTS."""
    of, measured = cell.comparison, cell.measured
    effect = "-" if of.effect is None else f"{of.effect:+.2f}"
    p_values = of.p_t, of.p_wilcoxon, cell.p_t_holm, cell.p_wilcoxon_holm
    intervals = [measured.interval(of.ci), measured.interval(of.boot)]
    return [*intervals, effect, measured.number(of.detectable), *map(shown_p, p_values)]


def _record(grid: Grid, cell: Cell, compared: bool) -> dict[str, Value]:
    """The cell's line of the CSV."""
    of_plan: dict[str, Value] = {}
    if grid.planned:
        table, (paper, paper_std), (paper_low, paper_high) = (
            grid.planned.plan.table,
            cell.paper,
            cell.to_paper_ci or (None, None),
        )
        of_plan = {
            "experiment": grid.planned.plan.name,
            "paper": table.paper,
            "table": table.number,
            "unit": cell.measured.unit,
            "planned": cell.planned,
            "conflicts": len(cell.conflicts),
            "paper_mean": paper,
            "paper_std": paper_std,
            "ours_minus_paper": cell.to_paper,
            "paper_ci_low": paper_low,
            "paper_ci_high": paper_high,
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
        **({"told": cell.told} if cell.told else {}),
        **({"cost": cell.cost} if cell.cost is not None else {}),
    }
    best_low, best_high = cell.to_best.ci or (None, None)
    of_best: dict[str, Value] = {
        "best": cell.best,
        "level": cell.level,
        "best_difference": cell.to_best.difference,
        "best_ci_low": best_low,
        "best_ci_high": best_high,
        "p_best_holm": cell.p_best_holm,
    }
    of_comparison: dict[str, Value] = {
        "baseline": cell.baseline,
        "pairs": cell.comparison.n,
        **cell.comparison.columns,
        "p_t_holm": cell.p_t_holm,
        "p_wilcoxon_holm": cell.p_wilcoxon_holm,
    }
    if cell.equivalence:
        of_comparison |= cell.equivalence._asdict()
    return of_plan | record | (of_best | of_comparison if compared or grid.planned else {})
