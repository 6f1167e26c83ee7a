"""From cells to what is printed: an overview that is narrow enough to read, and the details with their caption."""

from typing import TYPE_CHECKING, Any

from lilawbench.report.cells import Cell, Measured
from lilawbench.report.match import Matches
from lilawbench.report.names import measures
from lilawbench.report.stats import smallest_wilcoxon_p
from lilawbench.report.tables import SELECTIONS, Table, natural, shown_p

if TYPE_CHECKING:
    from pandas import DataFrame

WIDEST = 140  # characters of an overview in Markdown


def laid_out(
    plan: Any, name: str, cells: list[Cell], runs: "DataFrame", matches: Matches
) -> tuple[str, Table | None, Table]:
    """Heading, overview (None: it would be too wide to read) and details of some cells.

    Args:
        plan: whose table it is. name: what to call it. cells: of one metric, or of several in one column.
        runs, matches: for what the caption says of them.
    """
    measured = list(dict.fromkeys(cell.measured for cell in cells))
    heading = f"{measured[0].title} at {measured[0].rule}" if len(measured) == 1 else f"{len(measured)} metrics"
    second = {id(cell): cell.column for cell in cells}
    if len(measured) > 1:
        several = len({one.rule for one in measured}) > 1
        second = {id(c): c.measured.title + (f" at {c.measured.rule}" if several else "") for c in cells}
    return heading, _overview(cells, second, name, heading), _details(plan, name, cells, second, runs, matches)


def _overview(cells: list[Cell], second: dict[int, str], name: str, heading: str) -> Table | None:
    """Rows x columns, or the other way round, whichever is narrow enough to be read; None: neither."""
    import pandas as pd

    values = {(cell.row, second[id(cell)]): _overview_cell(cell) for cell in cells}
    rows, columns = (list(dict.fromkeys(keys)) for keys in zip(*values))
    beside = " (the paper's)" if any(cell.figure for cell in cells) else ""
    caption = f"{name}, {heading}: ours ± sample std over seeds{beside}."
    for down, across, flip in ((rows, columns, False), (columns, rows, True)):
        lines = [[one, *(values[(other, one) if flip else (one, other)] for other in across)] for one in down]
        table = Table(caption, ["", *across], lines, pd.DataFrame(), last_label="")
        if max(map(len, table.markdown().split("\n\n", 1)[1].splitlines())) <= WIDEST:
            return table
    return None


def _overview_cell(cell: Cell) -> str:
    paper = _spread(cell.measured, *cell.paper)
    return _ours(cell) if paper == "-" else f"{_ours(cell)} ({paper})"


def _ours(cell: Cell) -> str:
    return "conflict" if cell.conflicts else _spread(cell.measured, cell.mean, cell.std)


def _spread(measured: Measured, mean: float | None, std: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.{measured.digits}f}" + ("" if std is None else f" ± {std:.{measured.digits}f}")


def _details(
    plan: Any, name: str, cells: list[Cell], second: dict[int, str], runs: "DataFrame", matches: Matches
) -> Table:
    import pandas as pd

    cells = [cell for cell in cells if cell.planned or cell.figure]
    records = [_record(plan, cell) for cell in cells]
    has_paper, compared = any(cell.figure for cell in cells), any(cell.baseline for cell in cells)
    baselines = {cell.baseline for cell in cells if cell.baseline}
    one = next(iter(baselines)) if len(baselines) == 1 else None
    header = ["row", "metric" if cells[0].column != second[id(cells[0])] else "column", "seeds", "ours"]
    header += ["paper", "ours - paper"] * has_paper
    if compared:
        header += [f"difference to {one}" if one else "difference to"]
        header += ["t-test p", "Wilcoxon p", "t-test p (Holm)", "Wilcoxon p (Holm)"]
    lines = []
    for cell, record in zip(cells, records):
        line = [cell.row, second[id(cell)], _seeds(cell), _ours(cell)]
        if has_paper:
            line += [_spread(cell.measured, *cell.paper), _signed(cell, record["ours_minus_paper"])]
        if compared:
            difference = _signed(cell, cell.comparison.mean_difference)
            line.append(difference if one or difference == "-" else f"{cell.baseline} {difference}")
            line += map(shown_p, (cell.comparison.t_p, cell.comparison.wilcoxon_p, cell.t_holm, cell.wilcoxon_holm))
        lines.append(line)
    caption = _caption(plan, name, cells, runs, matches, has_paper, compared)
    return Table(caption, header, lines, pd.DataFrame(records), last_label=header[1])


def _caption(
    plan: Any, name: str, cells: list[Cell], runs: "DataFrame", matches: Matches, has_paper: bool, compared: bool
) -> str:
    used = runs.iloc[sorted({at for positions in matches.found for at in positions})]
    seeds = sorted({len(cell.runs) for cell in cells if cell.runs})
    over = f"n = {_range(seeds)} seeds" if seeds else "seeds, of which none is finished"
    done = sum(bool(positions) for positions in matches.found)
    titles = dict.fromkeys(cell.measured.title for cell in cells)
    what = next(iter(titles)) if len(titles) == 1 else f"{len(titles)} metrics"
    measured_by = " or ".join(measures(used)) if len(used) else "accuracy"
    rules = [
        f"{rule} ({SELECTIONS[rule].replace('accuracy', measured_by)})"
        for rule in dict.fromkeys(cell.measured.rule for cell in cells)
    ]
    of = name if name == plan.name else f"{name}, experiment {plan.name}"
    caption = [
        f"{of}: {what} at {' and '.join(rules)}, mean ± sample std over {over}.",
        f"Done {done} of {len(matches.found)} runs." if plan.table.rows else "",
        _noise(used),
    ]
    if matches.older:
        caption.append(f"{len(matches.older)} of them are of another version of lilawbench, which has other options.")
    if has_paper:
        caption.append(
            "The paper's figures are as published, in its own setting; how ours differs is said at the head of "
            f"conf/experiment/{plan.name}.yaml."
        )
    if compared:
        count = sum(cell.comparison.t_p is not None for cell in cells)
        caption.append(
            "Differences to another row are means over pairs of one seed and the same observed labels; p-values are "
            f"two-sided, Holm: corrected over the {count} comparison{'' if count == 1 else 's'} of this table, "
            "per test."
        )
        pairs = sorted({cell.comparison.n for cell in cells if cell.comparison.t_p is not None})
        smallest = ", ".join(f"{smallest_wilcoxon_p(n):.4g} with n = {n}" for n in pairs)
        caption += [f"The smallest two-sided Wilcoxon p there can be is {smallest}."] if pairs else []
    return " ".join(filter(None, caption))


def _noise(used: "DataFrame") -> str:
    """Requested and realised rates of each kind of noise."""
    names = ["config.noise.name", "noise.requested_rate", "noise.realised_rate"]
    rates: dict[str, list[float]] = {}
    for kind, requested, realised in used.reindex(columns=names).itertuples(index=False):
        if kind == "none" or realised is None or realised != realised:
            continue
        asked = "" if requested is None or requested != requested else f" {requested:g}"
        rates.setdefault(f"{kind}{asked}", []).append(realised)
    listed = [
        f"{kind}: {_range([f'{rate:.4f}' for rate in sorted(rates[kind])])}" for kind in sorted(rates, key=natural)
    ]
    return f"Noise rate as asked for and as realised, {'; '.join(listed)}." if listed else ""


def _range(values: list) -> str:
    return f"{values[0]}" if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _seeds(cell: Cell) -> str:
    done = f"{len(cell.runs)} of {cell.planned}" if cell.planned > len(cell.runs) else str(len(cell.runs))
    pairs = cell.comparison.n
    return "-" if not cell.planned else f"{done} ({pairs} paired)" if 0 < pairs < len(cell.runs) else done


def _signed(cell: Cell, value: float | None) -> str:
    return "-" if value is None else f"{round(value, 10) + 0.0:+.{cell.measured.digits}f}"


def _record(plan: Any, cell: Cell) -> dict[str, Any]:
    paper, paper_std = cell.paper
    difference = None if cell.mean is None or paper is None else cell.mean - paper
    return {
        "experiment": plan.name,
        "paper": plan.table.paper,
        "table": plan.table.number,
        "metric": cell.measured.metric,
        "select": cell.measured.rule,
        "unit": cell.measured.unit,
        "row": cell.row,
        "column": cell.column,
        "planned": cell.planned,
        "seeds": len(cell.runs),
        "conflicts": len(cell.conflicts),
        "mean": cell.mean,
        "std": cell.std,
        "paper_mean": paper,
        "paper_std": paper_std,
        "ours_minus_paper": difference,
        "baseline": cell.baseline,
        "pairs": cell.comparison.n,
        "mean_difference": cell.comparison.mean_difference,
        "t_p": cell.comparison.t_p,
        "wilcoxon_p": cell.comparison.wilcoxon_p,
        "t_p_holm": cell.t_holm,
        "wilcoxon_p_holm": cell.wilcoxon_holm,
    }
