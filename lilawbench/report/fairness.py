"""The section of gaps between groups of test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lilawbench.metrics.fairness import LARGEST, MEASURES
from lilawbench.report.document import Section, Short, Table, Value
from lilawbench.report.measured import SELECTIONS
from lilawbench.report.names import natural

if TYPE_CHECKING:  # tables need no torch
    from pandas import DataFrame


def fairness_section(runs: DataFrame, select: str = "best_val") -> Section | None:
    """Gaps per group and method: means over seeds of the gaps and of the bounds of their 95 % bootstrap intervals.

    Args:
        runs: named, from `with_unique_names`. select: a selection rule with predictions, "best_val" or "last".
    Returns:
        None if no run has groups.
    """
    import pandas as pd

    key = f"{select}.fairness"
    if key not in runs or not runs[key].notna().any():
        return None
    named = runs[runs[key].notna()]
    frame = pd.DataFrame(
        [
            {"setting": run["setting"], "method": run["method"], **row}
            for run in named.to_dict("records")
            for row in run[key]
        ]
    )
    several = frame["setting"].nunique() > 1
    records = []
    keys = ["setting", "attribute", "group", "method"]
    for place, cell in frame.groupby(keys, sort=False):
        means = cell.drop(columns=keys).astype(float).mean()
        for name in MEASURES:
            low, high = f"{name}_low", f"{name}_high"
            if means[low] == means[high]:  # all rows of both groups alike: no resample differs, which says nothing
                means[[low, high]] = float("nan")
        records.append(dict(zip(keys, place, strict=True)) | {"seeds": len(cell), **means.to_dict()})
    references: dict[str, list[str]] = {}
    for row in frame[frame["reference"]].drop_duplicates(["attribute", "group"]).to_dict("records"):
        references.setdefault(row["attribute"], []).append(row["group"])
    order = {place: number for number, place in enumerate(dict.fromkeys(zip(frame["attribute"], frame["group"])))}
    records.sort(key=lambda row: (natural(row["setting"]), order[row["attribute"], row["group"]], row["method"]))
    records = [{"select": select, **row} for row in records if row["group"] not in references[row["attribute"]]]
    header = ["setting"] * several + [
        "attribute",
        "group",
        "method",
        "seeds",
        "n",
        *(f"{name} gap" for name in MEASURES),
    ]
    rows, short = (
        [
            [row["setting"]] * several
            + [row["attribute"], row["group"], row["method"], str(row["seeds"]), f"{row['n']:.0f}"]
            + [_shown(row, name, bounds) for name in MEASURES]
            for row in records
        ]
        for bounds in (True, False)
    )
    against = ", ".join(f"{attribute}: {' or '.join(names)}" for attribute, names in references.items())
    caption = (
        f"Gaps to the reference group ({against}) at {select} ({SELECTIONS[select]}): means over seeds; in brackets, "
        f"of the bounds of each seed's 95 % bootstrap interval. {_positive(named)}"
        "DP: share predicted positive; TPR and FPR: the same among positives and negatives; PPV: share of predicted "
        "positives that are positive; ACC: accuracy. The largest gap is the largest absolute value over the groups."
    )
    numbers = len(MEASURES) + 2
    whole = Table(caption, header, rows, numbers, records)
    title = f"Gaps to the reference group ({against}) at {select}"
    return Section(f"{select}, groups", [whole], short=Short(title, [Table("", header, short, numbers)]))


def _positive(runs: DataFrame) -> str:
    """Which class is the positive one, by setting where that differs; runs of old do not say."""
    names = runs.get("class_names", [])
    known = [str(classes[1]) for classes in names if isinstance(classes, list | tuple) and len(classes) == 2]
    return f"Positive is the class {' or '.join(dict.fromkeys(known))}. " if known else ""


def _shown(row: dict[str, Value], name: str, bounds: bool) -> str:
    """ "-0.1712 [-0.18, -0.16]"; without bounds "-0.1712"."""
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if value != value:
        return "-"
    sign = "" if row["group"] == LARGEST else "+"
    return f"{value:{sign}.4f}" + f" [{low:{sign}.3f}, {high:{sign}.3f}]" * (bounds and low == low)
