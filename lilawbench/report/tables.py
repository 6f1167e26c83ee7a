"""Comparison tables: methods within settings, mean +- std over seeds, paired p-values with Holm's correction."""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lilawbench.report.names import measures, text, with_names
from lilawbench.report.repeated import refuse_repeated
from lilawbench.report.stats import Comparison, compare_paired, holm, sample_std, smallest_wilcoxon_p
from lilawbench.support.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

# How each selection rule picks the epoch that a table shows. The test set never picks one but by the name of oracle.
SELECTIONS = {
    "best_val": "the epoch of best validation accuracy, on the validation labels the method sees",
    "last": "the last epoch",
    "last5": "the mean of the last five epochs",
    "oracle_best": "the epoch of best test accuracy, an oracle",
}


OWN_LOSS = "loss"  # as a baseline: each method is compared with plain training on its own loss


@dataclass(frozen=True)
class Table:
    """One table with four spellings. `rows` is what is shown, `values` the same unrounded (std: ddof = 1)."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    values: "DataFrame"
    last_label: str = "method"  # header of the last column of words, numbers follow

    def markdown(self) -> str:
        """GitHub Markdown, padded so that it also reads well in a terminal."""
        lines = [[cell.replace("|", "\\|") for cell in row] for row in [self.header, *self.rows]]
        width = [max(map(len, column)) for column in zip(*lines)]
        first = len(self.header) - self._num_numeric
        rule = ["-" * w if i < first else "-" * (w - 1) + ":" for i, w in enumerate(width)]
        padded = [
            [c.ljust(w) if i < first else c.rjust(w) for i, (c, w) in enumerate(zip(line, width))] for line in lines
        ]
        body = "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])
        return f"{self.caption}\n\n{body}\n"

    def csv(self) -> str:
        """Unrounded numbers, one line per row of the table; accuracies are fractions 0..1."""
        return self.values.to_csv(index=False, lineterminator="\n")

    def tex(self) -> str:
        """A LaTeX table for the booktabs package."""
        header, *body = [" & ".join(map(_tex, row)) + r" \\" for row in [self.header, *self.rows]]
        columns = "l" * (len(self.header) - self._num_numeric) + "r" * self._num_numeric
        return "\n".join(
            [r"\begin{table}", r"\centering", rf"\caption{{{_tex(self.caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
            + [r"\toprule", header, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
        )

    def html(self) -> str:
        """A <table> element with its caption."""
        import pandas as pd

        table = pd.DataFrame(self.rows, columns=self.header).to_html(index=False, border=0, justify="left")
        head, rest = table.split("\n", 1)
        return f"{head}\n  <caption>{html.escape(self.caption)}</caption>\n{rest}\n"

    @property
    def _num_numeric(self) -> int:
        """How many columns, from the right, hold numbers."""
        return len(self.header) - self.header.index(self.last_label) - 1


def comparison_table(
    runs: "DataFrame", baseline: str | None = "ce", select: str = "best_val", metric: str = "test_accuracy"
) -> Table:
    """Methods (rows) within settings: mean +- sample std over seeds, and the comparison to the baseline.

    Pairs are runs of one setting, one seed and the same observed labels; where a seed is missing on one
    side, the pairs in common are compared. Holm's correction runs over all comparisons of the table, per test.

    Args:
        runs: finished runs, from `collect`.
        baseline: a method label of the table; "loss": "rrm + mse" is compared with "mse", "rrm" with "ce"; None, or a
            table of one method: no comparison columns.
        select: a key of SELECTIONS.
        metric: a metric of result.json, without the selection's prefix. Accuracies are shown in percent.
    Raises:
        UserError: no run has the metric, the baseline is not among the methods, two runs share setting,
            method and seed, or two runs of a pair have different observed labels (not paired).
    """
    import pandas as pd

    if select not in SELECTIONS:
        raise UserError(f"unknown selection {select!r}; valid: {', '.join(SELECTIONS)}")
    key = f"{select}.{metric}"
    if runs.empty:
        raise UserError("no finished run to make a table of")
    named = with_names(runs)
    values = pd.to_numeric(named[key]) if key in named else pd.Series(float("nan"), index=named.index)
    named = named.assign(value=values, seed=named["config.seed"])
    methods = sorted(named["method"].unique(), key=lambda label: (label != baseline, label))
    if baseline not in (None, OWN_LOSS, *methods):
        raise UserError(f"no finished run of the baseline {baseline!r}; methods found: {', '.join(methods)}")
    refuse_repeated(named)
    left_out = int(named["value"].isna().sum())
    named = named[named["value"].notna()]
    if named.empty:
        raise UserError(f"no finished run has {key}; try another selection: {', '.join(SELECTIONS)}")

    cells, comparisons = [], []
    for setting in sorted(named["setting"].unique(), key=natural):
        here = named[named["setting"] == setting]
        for method in methods:
            cell = here[here["method"] == method].sort_values("seed")
            name = baseline
            if baseline == OWN_LOSS and len(cell):
                name = cell["config.loss.name"].iloc[0]
            cells.append((setting, method, cell))
            base = here[here["method"] == name]
            comparisons.append(
                compare_by_seed(cell.to_dict("records"), base.to_dict("records")) if method != name else None
            )

    scale, unit = (100.0, " [%]") if metric.endswith("accuracy") else (1.0, "")
    compared = baseline is not None and len(methods) > 1
    records = [_record(*cell, comparison) for cell, comparison in zip(cells, comparisons)]
    frame = pd.DataFrame(records).assign(select=select, metric=metric, baseline=baseline if compared else None)
    t_holm, wilcoxon_holm = (holm([_number(p) for p in frame[test]]) for test in ("t_p", "wilcoxon_p"))
    frame = frame.assign(t_p_holm=t_holm, wilcoxon_p_holm=wilcoxon_holm)
    several = named["scene"].nunique() > 1

    header = ["setting"] * several + ["method", "seeds", metric.replace("_", " ") + unit]
    if compared:
        to = "its loss" if baseline == OWN_LOSS else baseline
        header += [f"difference to {to}", "t-test p", "Wilcoxon p", "t-test p (Holm)", "Wilcoxon p (Holm)"]
    rows = [_shown(row, scale, several, compared) for row in frame.to_dict("records")]
    caption = _caption(named, frame, select, metric, unit, baseline if compared else None, left_out)
    return Table(caption, header, rows, frame if compared else frame.drop(columns=_COMPARISON))


_COMPARISON = ["pairs", "mean_difference", "t_p", "wilcoxon_p", "t_p_holm", "wilcoxon_p_holm", "baseline"]


def _record(setting: str, method: str, cell: "DataFrame", comparison: Comparison | None) -> dict:
    comparison = comparison or Comparison(0, None, None, None)
    return {
        "setting": setting,
        "method": method,
        "seeds": len(cell),
        "mean": cell["value"].mean(),
        "std": sample_std(cell["value"]),
        "pairs": comparison.n,
        "mean_difference": comparison.mean_difference,
        "t_p": comparison.t_p,
        "wilcoxon_p": comparison.wilcoxon_p,
    }


def _shown(row: dict, scale: float, several: bool, compared: bool) -> list[str]:
    """One row as text; 2 decimals for percentages, 4 for other metrics; "-" for what is missing."""
    digits = 2 if scale == 100.0 else 4
    mean, std, difference = (_number(row[name]) for name in ("mean", "std", "mean_difference"))
    seeds = f"{row['seeds']} ({row['pairs']} paired)" if 0 < row["pairs"] < row["seeds"] else str(row["seeds"])
    shown = "-" if mean is None else f"{scale * mean:.{digits}f}"
    shown += "" if std is None else f" ± {scale * std:.{digits}f}"
    cells = [row["setting"]] * several + [row["method"], seeds, shown]
    if compared:
        cells.append("-" if difference is None else f"{scale * difference + 0.0:+.{digits}f}")
        cells += [shown_p(row[name]) for name in ("t_p", "wilcoxon_p", "t_p_holm", "wilcoxon_p_holm")]
    return cells


def shown_p(value: float | None) -> str:
    value = _number(value)
    return "-" if value is None else "<0.0001" if value < 0.00005 else f"{value:.4f}"


def _number(value: float | None) -> float | None:
    """A missing value of a DataFrame (NaN) back as None."""
    return None if value is None or value != value else float(value)


def compare_by_seed(cell: Iterable[Mapping], base: Iterable[Mapping]) -> Comparison:
    """Pairs the runs of two cells by seed, each seed once in a cell.

    Args:
        cell, base: of each run its "seed", "value", "labels.sha256", "folder" and "method" (what to call it).
    Raises:
        UserError: two runs of a pair have different observed labels.
    """
    others = {run["seed"]: run for run in base}
    pairs = sorted(((run, others[run["seed"]]) for run in cell if run["seed"] in others), key=lambda p: p[0]["seed"])
    for run, other in pairs:
        ours, theirs = text(run.get("labels.sha256")), text(other.get("labels.sha256"))
        if ours is None or ours != theirs:
            raise UserError(
                f"not paired: seed {run['seed']} has different observed labels (labels.sha256) in\n"
                f"  {run['folder']} ({run['method']})\n  {other['folder']} ({other['method']})\n"
                "Run one of them again with the other's version of the data and of lilawbench."
            )
    return compare_paired([run["value"] for run, _ in pairs], [other["value"] for _, other in pairs])


def _caption(
    named: "DataFrame", frame: "DataFrame", select: str, metric: str, unit: str, baseline: str | None, left_out: int
) -> str:
    scenes = sorted(named["scene"].unique(), key=natural)
    shared = [part for part in scenes[0].split(", ") if all(part in scene.split(", ") for scene in scenes)]
    where = scenes[0] if len(scenes) == 1 else ", ".join([*shared, f"{len(scenes)} settings"])
    chosen = SELECTIONS[select].replace("accuracy", " or ".join(measures(named)))
    caption = [
        f"{where}: {metric.replace('_', ' ')}{unit} at {select} ({chosen}), mean ± sample std over seeds, "
        f"n = {_range(frame.loc[frame['seeds'] > 0, 'seeds'], 'd')} seeds.",
        _rates(named),
    ]
    if left_out:
        caption.append(f"Left out: {left_out} finished run(s) without {select}.{metric}.")
    if baseline is not None:
        count = int(frame["t_p"].notna().sum())
        points = ", in percentage points" if unit else ""
        to = "plain training on the same loss" if baseline == OWN_LOSS else baseline
        caption.append(
            f"Differences to {to} are means over pairs of one seed and the same observed labels{points}; "
            "p-values are two-sided, Holm: corrected over the "
            f"{count} comparison{'' if count == 1 else 's'} of this table, per test."
        )
        pairs = sorted(set(frame.loc[frame["t_p"].notna(), "pairs"]))
        smallest = ", ".join(f"{smallest_wilcoxon_p(n):.4g} with n = {n}" for n in pairs)
        caption += [f"The smallest two-sided Wilcoxon p there can be is {smallest}."] if pairs else []
    return " ".join(caption)


def _rates(named: "DataFrame") -> str:
    """Requested and realised noise rates per setting; once if all are alike, per method where the methods' differ."""
    if "noise.realised_rate" not in named:
        return "Noise rate: not recorded."
    parts = {}
    for setting in sorted(named["setting"].unique(), key=natural):
        here = named[named["setting"] == setting]
        ranges = {method: _range(cell["noise.realised_rate"], ".4f") for method, cell in here.groupby("method")}
        realised = ", ".join(f"{range_} ({method})" for method, range_ in ranges.items())
        part = f"realised {realised if len(set(ranges.values())) > 1 else next(iter(ranges.values()))}"
        if "noise.requested_rate" in here and here["noise.requested_rate"].notna().any():
            part = f"requested {_range(here['noise.requested_rate'], 'g')}, {part}"
        parts[setting] = part
    alike = len(set(parts.values())) == 1
    return f"Noise rate {part if alike else '; '.join(f'{setting}: {part}' for setting, part in parts.items())}."


def _range(values: "DataFrame", spec: str) -> str:
    """ "0.4", or "0.38 to 0.41" where the values differ when printed; "unknown" if all are missing."""
    shown = [format(value, spec) for value in (values.min(), values.max())]
    return "unknown" if values.isna().all() else shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"


def natural(label: str) -> list[float | str]:
    """Sorts "rate 10" after "rate 2": numbers inside a label count as numbers."""
    return [float(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+\.?\d*)", label))]


_TEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "<": "$<$", ">": "$>$", "~": r"\textasciitilde{}", "^": r"\^{}"}
_TEX |= {character: "\\" + character for character in "&%$#_{}"}


def _tex(string: str) -> str:
    return "".join(_TEX.get(character, character) for character in string)
