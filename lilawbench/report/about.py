"""What a page says of the runs themselves: each of them, how their configs differ, and what made them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.launch.state import LAST_SWEEP
from lilawbench.report.collect import RUN_FILES, Unfinished
from lilawbench.report.document import Section, Table
from lilawbench.report.measured import column, of_runs
from lilawbench.report.names import measures, natural, tells_apart, text
from lilawbench.support.errors import first_of

if TYPE_CHECKING:
    from pandas import DataFrame

RULES = ("best_val", "last")
MOST_VALUES = 12  # of an option, that are named
MOST_COMMANDS = 20
VERSIONS = ("lilawbench", "python", "torch", "numpy")


def about(runs: "DataFrame", unfinished: Sequence[Unfinished], folders: Iterable[Path]) -> list[Section]:
    """The sections below the figures.

    Args:
        runs: named, from `with_unique_names`. unfinished: runs without a result. folders: where the runs are.
    """
    sections = [Section("Runs", [_runs(runs)], folded=len(runs) > MOST_VALUES)]
    if differing := _differing(runs):
        sections.append(Section("How the configs differ", [differing]))
    sections.append(Section("Commands and versions", [_commands(runs), _versions(runs)]))
    if lacking := [*_lines(unfinished), *_not_begun(folders)]:
        caption = "Runs that have no result; the report says nothing of them."
        sections.append(Section("Failed and missing runs", [Table(caption, ["state", "run", "reason"], lacking, 0)]))
    return sections


def summary(runs: "DataFrame", unfinished: Sequence[Unfinished]) -> str:
    """ "15 finished runs of 3 methods in 1 setting, 5 seeds; 1 failed."."""
    methods, settings, seeds = (runs[name].nunique() for name in ("method", "scene", "config.seed"))
    parts = [
        _counted(len(runs), "finished run"),
        "of",
        _counted(methods, "method"),
        "in",
        _counted(settings, "setting"),
    ]
    states = Counter(run.state for run in unfinished)
    more = [f"{count} {state}" for state, count in states.items()]
    return "; ".join([f"{' '.join(parts)}, {_counted(seeds, 'seed')}", *more]) + "."


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _runs(runs: "DataFrame") -> Table:
    several = runs["scene"].nunique() > 1
    shown = [
        one
        for rule in RULES
        for measure in measures(runs)
        if (one := of_runs(f"test_{measure}", rule)).key in runs and runs[one.key].notna().any()
    ]
    header = ["method", *["setting"] * several, "folder", "commit", "seed", *(f"{m.title}, {m.rule}" for m in shown)]
    header.append("minutes")
    values = [column(runs, measured.key) for measured in shown]
    lines = []
    order = sorted(range(len(runs)), key=lambda at: [natural(runs[k].iloc[at]) for k in ("scene", "method", "run")])
    methods, settings, folders, seeds = (column(runs, k) for k in ("method", "setting", "folder", "config.seed"))
    commits, dirty, seconds = (column(runs, key) for key in ("git.commit", "git.dirty", "seconds_total"))
    for at in order:
        line = [methods[at], *[settings[at]] * several, Path(folders[at]).name]
        line += [f"{commits[at][:8]}{'+' * bool(dirty[at])}" if commits[at] else "-", str(seeds[at])]
        line += [measured.spread(of[at], None) for measured, of in zip(shown, values)]
        lines.append([*line, f"{seconds[at] / 60:.1f}" if isinstance(seconds[at], int | float) else "-"])
    caption = "Every finished run. A + marks a commit with changes that were not committed."
    return Table(caption, header, lines, len(shown) + 2)


def _differing(runs: "DataFrame") -> Table | None:
    """Options that not all runs have alike, and their values."""
    lines = []
    for leaf in sorted(leaf for leaf in runs if tells_apart(leaf) and not leaf.endswith("._target_")):
        counts = Counter(text(value) for value in column(runs, leaf))
        if len(counts.keys() - {None}) > 1:  # what a method alone has, its name says
            name = leaf.removeprefix("config.")
            values = sorted(counts, key=lambda value: natural(value or ""))
            told = [f"{'none' if value is None else value} ({counts[value]:,})" for value in values]
            lines.append([name, first_of(told, MOST_VALUES)])
    caption = "Options that differ between the runs: each value, and in brackets how many runs have it."
    return Table(caption, ["option", "values"], lines, 0) if lines else None


def _commands(runs: "DataFrame") -> Table:
    counts = Counter(filter(None, column(runs, "command")))
    lines = [[command, f"{count:,}"] for command, count in counts.most_common(MOST_COMMANDS)]
    more = f", the {MOST_COMMANDS} with most runs of {len(counts):,}" if len(counts) > MOST_COMMANDS else ""
    return Table(f"Commands that made the runs{more}.", ["command", "runs"], lines or [["not recorded", "-"]], 1)


def _versions(runs: "DataFrame") -> Table:
    names = [f"versions.{name}" for name in VERSIONS]
    found = Counter(zip(*(column(runs, name) for name in [*names, "device", "git.commit"])))
    lines = [[text(value) or "-" for value in values] + [f"{count:,}"] for values, count in found.most_common()]
    return Table("What the runs were made with.", [*VERSIONS, "device", "git commit", "runs"], lines, 1)


def _lines(unfinished: Sequence[Unfinished]) -> list[list[str]]:
    return [[run.state, run.folder.name, run.reason] for run in unfinished]


def _not_begun(folders: Iterable[Path]) -> list[list[str]]:
    """Runs that the last sweep of a folder was to do, and that have no folder."""
    lines = []
    for folder in folders:
        try:
            names = json.loads((folder / LAST_SWEEP).read_text(encoding="utf-8")).get("runs", [])
        except (OSError, ValueError, AttributeError):
            continue
        here = [name for name in names if RUN_FILES.isdisjoint(_files(folder / name))]
        lines += [["not begun", name, "the last sweep was to do it; the same command does"] for name in here]
    return lines


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
