"""What the tables of a report do not show, a sentence each: conflicts, and which runs were left out and why."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.record.identity import UNKNOWN_CLEAN
from lilawbench.report.cells import Cell
from lilawbench.report.collect import Unfinished
from lilawbench.report.document import LeftOut
from lilawbench.report.match import Matches
from lilawbench.support.errors import first_of

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 10  # runs without a result that are named, of those with the same reason


def conflicts(cells: Iterable[Cell]) -> list[str]:
    """Planned runs with several finished ones."""
    places: dict[tuple[str, str, int], dict[str, list[str]]] = {}
    for cell in cells:
        for runs in cell.conflicts:
            place = places.setdefault((cell.row, cell.column, runs[0].seed), {})
            for run in runs:
                shown = f"{cell.measured.title} {cell.measured.spread(run.value, None)}"
                place.setdefault(run.folder, []).append(shown)
    return [
        f"Conflict: {len(found)} finished runs of {row}, {column}, seed {seed}; move away those that should not count: "
        + "; ".join(f"{folder} ({', '.join(values)})" for folder, values in found.items())
        for (row, column, seed), found in places.items()
    ]


def without(counts: Iterable[tuple[str, int]]) -> list[str]:
    """Finished runs that lack a metric."""
    total: dict[str, int] = {}
    for key, count in counts:
        total[key] = total.get(key, 0) + count
    return [f"{count} finished run(s) have no {key}." for key, count in total.items() if count]


def idle(cells: Iterable[Cell]) -> list[str]:
    """Cells whose method had not acted by the epoch that counts, and why."""
    places: dict[str, dict[str, None]] = {}
    for cell in cells:
        for why, count in Counter(run.idle for run in cell.runs if run.idle).items():
            some = f" ({count} of {len(cell.runs)} runs)" * (count < len(cell.runs))
            places.setdefault(why, {})[", ".join(filter(None, (cell.row, cell.column))) + some] = None
    return [f"Not a result of the method: {first_of(list(names), 3, '; ')}: {why}." for why, names in places.items()]


def left_out(
    missing: Sequence[Unfinished], in_conflict: Sequence[str] = (), near: int = 0, of_near: Sequence[str] = ()
) -> LeftOut:
    """Runs that are in no table. in_conflict: from `conflicts`. near, of_near: from `unmatched`."""
    counts = dict(Counter(run.state for run in missing))
    counts |= {"in conflict": len(in_conflict)} if in_conflict else {}
    counts |= {"with other options": near} if near else {}
    return LeftOut(counts, [*in_conflict, *of_near, *unfinished(missing)])


def unmatched(matches: Matches, runs: "DataFrame") -> tuple[int, list[str]]:
    """Finished runs in a plan's folder that lack an option of it, or have one more: how many, and which."""
    near: dict[tuple[str, ...], list[str]] = {}
    for position, leaves in matches.near:
        near.setdefault(tuple(leaves), []).append(runs["folder"].iloc[position])
    notes = [
        f"Not in the tables: {len(folders)} finished run(s) that have, or lack, {', '.join(leaves)}: "
        + first_of(folders, 3)
        for leaves, folders in near.items()
    ]
    return len(matches.near), notes


def others(matches: Matches) -> list[str]:
    """Finished runs in a plan's folder that are of another setting."""
    count = matches.others
    return [f"{count} other finished run(s) in the same folder belong to no cell of this table."] if count else []


def unfinished(runs: Sequence[Unfinished]) -> list[str]:
    """Runs without a result: a line each; where many have the same reason, one line counts the rest."""
    alike: dict[tuple[str, str], list[Unfinished]] = {}
    for run in runs:
        alike.setdefault((run.state, run.reason), []).append(run)
    lines = []
    for (state, reason), group in alike.items():
        lines += [f"Not in the tables, {state}: {run.folder} ({reason})" for run in group[:SHOWN]]
        if len(group) > SHOWN:
            lines.append(f"Not in the tables, {state}: {len(group) - SHOWN} more ({reason})")
    return lines


def not_drawn(damaged: Mapping[str, str]) -> list[str]:
    """Runs that are in the tables alone: why, by folder."""
    lines = [f"Not in the figures: {folder} ({reason})" for folder, reason in [*damaged.items()][:SHOWN]]
    return lines + [f"Not in the figures: {len(damaged) - SHOWN} more"] * (len(damaged) > SHOWN)


def undrawn(count: int, folders: Iterable[Path]) -> str:
    """Runs that are too many for the figures of a sweep's end."""
    command = shlex.join(["python", "-m", "lilawbench.report", *map(str, folders)])
    return f"No figures of {count} runs at the end of a sweep, for they take long; this draws them: {command}"


def unknown_clean(runs: "DataFrame") -> list[str]:
    """Runs without clean labels, which some measures need."""
    count = int(runs["labels.clean_known"].eq(False).sum()) if "labels.clean_known" in runs else 0
    return [f"{count} run(s) whose clean labels are unknown: {UNKNOWN_CLEAN}."] if count else []


def clean_val(runs: "DataFrame") -> list[str]:
    """Runs that had the clean labels of their validation rows."""
    if "config.split.val_labels" not in runs:
        return []
    methods = runs.loc[runs["config.split.val_labels"].eq("clean"), "config.method.name"]
    names = first_of(list(dict.fromkeys(methods)), 5)
    said = "their validation rows have clean labels (split.val_labels=clean), which nobody has of real data"
    use = "best_val, an early stop and a method that learns from these rows go by them"
    return [f"{len(methods)} run(s) of {names}: {said}; {use}."] if len(methods) else []
