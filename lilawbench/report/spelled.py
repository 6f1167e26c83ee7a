"""How a cell is printed."""

from collections.abc import Iterable, Sequence

from lilawbench.report.cells import Cell

IDLE = "†"  # marks a cell whose method had not acted by the epoch that counts, in some run
TOLD = "‡"  # marks one whose method was told how noisy the labels are
LEVEL = "≈"  # marks a cell that no test tells from the best

COST = "Cost: passes of rows through networks in training, by those of plain training."


def ours(cell: Cell) -> str:
    """ "74.00 ± 3.00 ≈"."""
    return "conflict" if cell.conflicts else cell.measured.spread(cell.mean, cell.std) + marks(cell)


def marks(cell: Cell) -> str:
    """ " ≈"."""
    return f" {IDLE}" * bool(cell.idle) + f" {TOLD}" * bool(cell.told) + f" {LEVEL}" * cell.level


def never(cells: Iterable[Cell]) -> str:
    """What IDLE means: what the methods had not done, in one word if it is more than two things; "": no cell has it."""
    said = dict.fromkeys(cell.idle for cell in cells if cell.idle)
    many = "the method had not begun all that it does by the epoch that counts, in some runs or all"
    return " or ".join(said) if len(said) <= 2 else many


def told(cells: Iterable[Cell]) -> str:
    """What TOLD means: " and ".join of the options; "": no cell has it."""
    options = dict.fromkeys(cell.told for cell in cells if cell.told)
    return f"told how noisy the labels are ({' or '.join(options)})" if options else ""


def costs(cells: Sequence[Cell]) -> list[str] | None:
    """The cost of each cell, "1.33"; None: it is the same for all, or not known of any."""
    shown = ["-" if cell.cost is None else f"{cell.cost:.2f}" for cell in cells]
    return shown if len({one for one in shown if one != "-"}) > 1 else None


def with_paper(cell: Cell) -> str:
    """ "74.00 ± 3.00 (75.25)"."""
    paper = cell.measured.spread(*cell.paper)
    return ours(cell) if paper == "-" else f"{ours(cell)} ({paper})"


def to_paper(cell: Cell) -> str:
    """ "+0.50 [-4.47, +5.47]", of our seeds alone."""
    return cell.measured.with_interval(cell.to_paper, cell.to_paper_ci)


def seeds(cell: Cell, planned: bool) -> str:
    """ "5", "2 of 5", "5 (3 paired)"; "quoted" of a row that only the paper has."""
    if planned and not cell.planned:
        return "quoted" if cell.published else "-"
    done, pairs = len(cell.runs), cell.comparison.n
    shown = f"{done} of {cell.planned}" if planned and done < cell.planned else f"{done}"
    return f"{shown} ({pairs} paired)" if 0 < pairs < done else shown


def difference(cell: Cell, to: str | None, bounds: tuple[float, float] | None = None) -> str:
    """ "+2.00 [-0.48, +4.48]", or "CE +2.00" where the rows have several baselines (`to` is empty)."""
    shown = cell.measured.with_interval(cell.comparison.difference, bounds)
    return shown if to or shown == "-" else f"{cell.baseline} {shown}"


def equivalence(cell: Cell) -> str:
    """ "0.02, 0.35, 0.63": below, within and above the region of practical equivalence."""
    return "-" if cell.equivalence is None else ", ".join(f"{part:.2f}" for part in cell.equivalence[1:])
