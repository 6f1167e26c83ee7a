"""What a section shows, in a sentence: how the best of the compared rows stands to its baseline."""

from collections.abc import Sequence

import numpy as np

from lilawbench.report.captions import counted
from lilawbench.report.cells import Cell
from lilawbench.report.grid import Grid
from lilawbench.report.measured import Measured, shown_p
from lilawbench.report.stats import ALPHA, t_interval


def headline(grid: Grid, cells: Sequence[Cell]) -> str:
    """ "lilaw is 0.60 points above ce at best_val (95 % interval 0.10 to 1.10, n = 5), p = 0.0300 after Holm over 12
    comparisons."

    It is of the first metric, and of the row with the best mean difference over the columns. "": no row is compared
    over two seeds or more, or it is not known whether more of the metric is better.
    """
    count = counted(sum(cell.comparison.p_t is not None for cell in cells))
    tested = [cell for cell in cells if cell.comparison.tested]
    tested = [cell for cell in tested if cell.measured == tested[0].measured and cell.column not in grid.averages]
    if not tested or not tested[0].measured.better:
        return ""
    rows: dict[str, list[Cell]] = {}
    for cell in tested:
        rows.setdefault(cell.row, []).append(cell)
    best = max(rows.values(), key=lambda of: of[0].measured.better * _mean(of))
    several = len({cell.column for cell in tested}) > 1
    return _over_columns(best, grid.labels[1], count) if several else _of_one(best[0], count)


def _of_one(cell: Cell, count: str) -> str:
    p, measured, difference = shown_p(cell.p_t_holm), cell.measured, _mean([cell])
    stands = f"{measured.size(abs(difference))} {_side(difference)} {cell.baseline}{measured.at}"
    less = "less is better; " if measured.better < 0 else ""
    bounds = _interval(measured, difference, cell.comparison.ci) or "all differences are equal"
    told = "no p by a t-test" if p == "-" else f"p {p if p.startswith('<') else f'= {p}'} after Holm over {count}"
    return f"{cell.row} is {stands} ({less}{bounds}, n = {cell.comparison.n}), {told}."


def _over_columns(cells: Sequence[Cell], columns: str, count: str) -> str:
    measured, mean = cells[0].measured, _mean(cells)
    same = [cell for cell in cells if _mean([cell]) * mean > 0]
    told = [cell for cell in cells if cell.p_t_holm is not None and cell.p_t_holm < ALPHA]
    against = len([cell for cell in told if cell not in same])
    stands = f"{_side(mean)} {cells[0].baseline}{measured.at} in {len(same)} of {len(cells)} {columns}s"
    less = ", where less is better" if measured.better < 0 else ""
    others = f", and in {against} of the others" if against else ""
    return (
        f"{cells[0].row} is {stands}{less}, by {measured.size(abs(mean))} on average over all{_of_average(cells)}; "
        f"p is below {ALPHA:g} after Holm over {count} in {len(told) - against} of them{others}."
    )


def _mean(cells: Sequence[Cell]) -> float:
    return float(np.mean([cell.comparison.difference for cell in cells]))


def _side(difference: float) -> str:
    return "below" if difference < 0 else "above"


def _of_average(cells: Sequence[Cell]) -> str:
    """ " (95 % interval 0.10 to 1.10, n = 5)": of the seeds' means over the columns; "" unless all share seeds."""
    seeds = cells[0].differences.keys()
    if any(cell.differences.keys() != seeds for cell in cells):
        return ""
    means = np.array([np.mean([cell.differences[seed] for cell in cells]) for seed in seeds])
    bounds = _interval(cells[0].measured, _mean(cells), t_interval(np.round(means, 12)))
    return f" ({bounds}, n = {len(means)})" if bounds else ""


def _interval(measured: Measured, difference: float, bounds: tuple[float, float] | None) -> str:
    """ "95 % interval 0.10 to 1.10", of how far it is above or below; "": there is none."""
    if bounds is None:
        return ""
    low, high = bounds if difference >= 0 else (-bounds[1], -bounds[0])
    return f"95 % interval {measured.number(low)} to {measured.number(high)}"
