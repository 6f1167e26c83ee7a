"""Captions: metric, selection rule, seeds, noise rates, and how rows were compared."""

from collections.abc import Iterable, Sequence

from lilawbench.report.cells import Cell
from lilawbench.report.grid import Grid
from lilawbench.report.measured import SELECTIONS, column, spanned
from lilawbench.report.names import measures, natural, text
from lilawbench.report.spelled import COST, LEVEL, TOLD, costs, told
from lilawbench.report.stats import ALPHA, POWER, RESAMPLES, smallest_wilcoxon_p

MANY = 5  # pairs, from which on a table says nothing of their number
FEW_PAIRS = f"Fewer than {MANY} pairs say little."
WHY_LITTLE = "The interval of t then rests on normal differences, and that of the bootstrap is too narrow."

ECE = {
    "ece": "ECE: mean gap between confidence and accuracy over 15 bins of equal width; less is better.",
    "ece_mass": "ECE mass: mean gap between confidence and accuracy over 15 bins of equally many rows; less is better.",
    "ece_class": "ECE class: mean over classes of the gap between probability and frequency of a class over 15 bins of "
    "equal width; less is better.",
}
CALIBRATED = (
    "Calibrated: after one temperature, of several labels one for each, fitted on validation rows and the labels that "
    "the method sees."
)


def heading(cells: Sequence[Cell]) -> str:
    measured = {cell.measured: None for cell in cells}
    one = next(iter(measured))
    return one.title + one.at if len(measured) == 1 else f"{len(measured)} metrics"


def compared_with(grid: Grid, cells: Sequence[Cell]) -> str | None:
    """The baseline of all cells; "" if there are several, None if nothing is compared."""
    baselines = {cell.baseline for cell in cells if cell.baseline}
    return grid.against or (baselines.pop() if len(baselines) == 1 else "") if baselines else None


def details_caption(grid: Grid, cells: Sequence[Cell]) -> str:
    used = sorted({run.at for cell in cells for run in cell.runs if run.at is not None})
    runs = grid.runs.iloc[used]
    titles = list(dict.fromkeys(cell.measured.title for cell in cells))
    what = titles[0] if len(titles) == 1 else f"{len(titles)} metrics"
    measured_by = " or ".join(measures(runs)) if used else "accuracy"
    rules = [
        f"{rule} ({SELECTIONS[rule].replace('accuracy', measured_by)})"
        for rule in dict.fromkeys(cell.measured.rule for cell in cells)
        if rule
    ]
    seeds = [len(cell.runs) for cell in cells if cell.runs]
    over = f"n = {spanned(seeds, 'd')} seeds" if seeds else "seeds, none of them finished"
    sentences = [
        f"{_name(grid, cells)}: {what}{' at ' * bool(rules)}{' and '.join(rules)}, mean ± sample std over {over}."
    ]
    sentences += [*_calibration([cell.measured.metric for cell in cells]), *progress(grid), *_noise(grid, used)]
    sentences += [f"{TOLD}: {why}."] if (why := told(cells)) else []
    sentences += [COST] * bool(costs(cells))
    if grid.planned and any(cell.published for cell in cells):
        sentences.append(
            "The paper's results are as published, for its own setting; how ours differs is at the top of "
            f"conf/experiment/{grid.planned.plan.name}.yaml."
        )
        if any(cell.to_paper_ci for cell in cells):
            sentences.append("95 % intervals of ours - paper are of our seeds alone.")
    return " ".join(sentences + _comparisons(grid, cells))


def _name(grid: Grid, cells: Sequence[Cell]) -> str:
    name, columns = grid.name, {cell.column for cell in cells}
    if grid.planned is None:
        return name
    if grid.planned.plan.name != name:
        name += f", experiment {grid.planned.plan.name}"
    return f"{name}, {columns.pop()}" if len(columns) == 1 and "" not in columns else name


def _calibration(metrics: Sequence[str]) -> list[str]:
    """What errors of calibration and calibrated measures are."""
    names = {metric.removeprefix("test_").removesuffix("_calibrated") for metric in metrics}
    said = [text for name, text in ECE.items() if name in names]
    return said + [CALIBRATED] * any(metric.endswith("_calibrated") for metric in metrics)


def progress(grid: Grid) -> list[str]:
    """How much of a plan is done."""
    if grid.planned is None or not grid.planned.plan.table.rows:
        return []
    found, older = grid.planned.matches.found, len(grid.planned.matches.older)
    done = [f"Done {sum(map(bool, found))} of {len(found)} runs."]
    return done + [f"{older} of them are from another version of lilawbench, which has other options."] * bool(older)


def _noise(grid: Grid, used: Sequence[int]) -> list[str]:
    """Requested and realised rates by setting or, in a plan, by noise; once if all are the same, by method where the
    methods differ."""
    runs = grid.runs.iloc[used]
    asked, realised = (column(runs, f"noise.{kind}_rate") for kind in ("requested", "realised"))
    known: Iterable[int] = range(len(runs))
    if grid.planned:
        kinds = column(runs, "config.noise.name")
        names = [kind if rate is None else f"{kind} {text(rate)}" for kind, rate in zip(kinds, asked)]
        known = [i for i, rate in enumerate(realised) if rate is not None and kinds[i] != "none"]
        methods = [""] * len(runs)
    else:
        names, methods = runs["setting"].tolist(), runs["method"].tolist()
        if all(rate is None for rate in realised):
            return ["Noise rate: not recorded."]
    rates: dict[str, dict[str, list[float | None]]] = {}
    requested: dict[str, list[float | None]] = {}
    for i in known:
        rates.setdefault(names[i], {}).setdefault(methods[i], []).append(realised[i])
        requested.setdefault(names[i], []).append(asked[i])
    parts = {name: _rates(requested[name], rates[name]) for name in sorted(rates, key=natural)}
    if not parts:
        return []
    if not grid.planned and len(set(parts.values())) == 1:
        return [f"Noise rate {parts.popitem()[1]}."]
    return [f"Noise rate of {'; '.join(f'{name}: {part}' for name, part in parts.items())}."]


def _rates(requested: Sequence[float | None], realised: dict[str, list[float | None]]) -> str:
    """ "requested 0.4, realised 0.3900 to 0.4100 (ce), 0.3900 (lilaw)"."""
    shown = {method: _span(rates, ".4f") for method, rates in sorted(realised.items())}
    alike = len(set(shown.values())) == 1
    part = next(iter(shown.values())) if alike else ", ".join(f"{rates} ({method})" for method, rates in shown.items())
    asked = _span(requested, "g")
    return f"realised {part}" if asked == "unknown" else f"requested {asked}, realised {part}"


def _span(rates: Sequence[float | None], spec: str) -> str:
    known = [rate for rate in rates if rate is not None]
    return spanned(known, spec) if known else "unknown"


def _comparisons(grid: Grid, cells: Sequence[Cell]) -> list[str]:
    to = compared_with(grid, cells)
    if to is None:
        return _best(cells)
    tested = [cell.comparison for cell in cells if cell.comparison.tested]
    to = f"plain training on {to}" if grid.against else to or "another row"
    points = ", in percentage points" if all(cell.measured.unit == "%" for cell in cells) else ""
    pairs = sorted({one.n for one in tested})
    differences = f"Differences to {to} are means over pairs of one seed and the same observed labels{points}"
    if not pairs:
        return [f"{differences}.", *_best(cells)]
    smallest = ", ".join(f"{smallest_wilcoxon_p(n):.4g} with n = {n}" for n in pairs)
    return [
        f"{differences}; their 95 % intervals are of Student's t and of a bootstrap over seeds ({RESAMPLES:,} "
        "resamples, BCa); effect is Cohen's d of the paired differences (d_z) with Hedges' correction; p-values are "
        f"two-sided, Holm: corrected over the {counted(len(tested))} of this table, per test.",
        *_equal(sum(one.ci is None for one in tested)),
        f"The smallest possible two-sided Wilcoxon p is {smallest}.",
        *[FEW_PAIRS, WHY_LITTLE] * (pairs[0] < MANY),
        *_equivalence(cells),
        *_best(cells),
    ]


def _equal(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"In {counted(count)} all differences are equal: no variance is left for an interval nor, unless they are 0, "
        "for a t-test, which Holm then leaves out."
    ]


def could_see(cells: Sequence[Cell]) -> str:
    """Which true differences the cells would probably have found; "": none was tested, or none varies."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.comparison.detectable is not None:
            found.setdefault(cell.measured.title, []).append(cell)
    if not found:
        return ""
    every = [cell for of in found.values() for cell in of]
    sizes = [_detectable(of) + f" of {title}" * (len(found) > 1) for title, of in found.items()]
    seeds = spanned([cell.comparison.n for cell in every], "d")
    who = "this cell" if len(every) == 1 else "a cell"
    return (
        f"With {seeds} seeds {who} could have seen {', '.join(sizes)}: the true difference that its paired t-test "
        f"(two-sided, p below {ALPHA:g} before Holm) finds with a power of {100 * POWER:g} %, if differences vary as "
        f"they did here{' (each its own: detectable)' * (len(every) > 1)}."
    )


def _detectable(cells: Sequence[Cell]) -> str:
    """ "0.40 to 3.10 points"."""
    sizes = [cell.comparison.detectable or 0.0 for cell in cells]
    low, high = cells[0].measured.number(min(sizes)), cells[0].measured.size(max(sizes))
    return high if high.startswith(low) else f"{low} to {high}"


def _equivalence(cells: Sequence[Cell]) -> list[str]:
    regions = {f"{cell.measured.printed * cell.equivalence.rope:g}": None for cell in cells if cell.equivalence}
    if not regions:
        return []
    return [
        f"Below, within, above: the probabilities that the true difference is below -{' or '.join(regions)}, within, "
        "and above, by the posterior of a paired t (Benavoli et al. 2017)."
    ]


def _best(cells: Sequence[Cell]) -> list[str]:
    """What bold and LEVEL mean."""
    if not any(cell.best for cell in cells):
        return []
    count = sum(cell.p_best_holm is not None for cell in cells)
    tests = f"paired t-test, p at least {ALPHA:g} after Holm over the rows of a column"
    return ["Bold: the best mean" + (f", and with {LEVEL} what no test tells from it ({tests})." if count else ".")]


def counted(count: int) -> str:
    return f"{count} comparison{'' if count == 1 else 's'}"
