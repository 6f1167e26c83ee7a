"""Plans the runs of a command: rows x columns of its table x what is swept, each with its config and folder."""

import itertools
import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from lilawbench.config import Plain, plain
from lilawbench.experiment.composer import Composer, by_key, composer, keyed
from lilawbench.experiment.overrides import check_choices, explained, line, parsed_all, values
from lilawbench.experiment.products import expanded, training
from lilawbench.record.data import looked_at_once
from lilawbench.record.identity import run_folder
from lilawbench.support import presets, searchpath
from lilawbench.support.errors import ConfigError
from lilawbench.support.hydra_private import products

log = logging.getLogger("lilawbench")
ELSEWHERE = ("paths", "logger", "sweep", "launcher", "experiment_name", "hydra")  # groups that choose no runs
ANNOUNCED = 100  # from this many runs on, planning is logged


@dataclass(frozen=True)
class Planned:
    """One run of a plan. `row` and `column` are names in the table, "" without one."""

    overrides: list[str]
    cfg: Plain = field(repr=False)
    row: str = ""
    column: str = ""

    @cached_property
    def folder(self) -> Path:
        """Where the run is recorded, or will be."""
        return run_folder(self.cfg)

    @property
    def seed(self) -> int:
        return self.cfg.seed


@dataclass(frozen=True)
class Plan:
    """All runs of a command, each once; the first seeds of all cells come before the second ones."""

    name: str  # the experiment's, or "default"
    place: str  # its own experiment_name, which rows and columns may replace: its tables lie in this folder
    cfg: DictConfig = field(repr=False)  # of the first run, with the hydra block
    runs: list[Planned] = field(repr=False)
    cells: list[Planned] = field(repr=False)  # the same by cell: a run that two cells share is in it twice
    folders: list[Path] = field(default_factory=list)  # the user's folders of YAML files, for jobs
    given: list[str] = field(default_factory=list)  # the overrides that it was made from

    @cached_property
    def table(self) -> Plain:
        """The experiment's table, expanded."""
        return expanded(plain(self.cfg.table))

    @property
    def command(self) -> str:
        """A command that means the same runs."""
        mode = [] if self.cfg.hydra.mode == RunMode.MULTIRUN else ["-m"]
        return shlex.join(
            ["python", "-m", "lilawbench.train", *mode, *searchpath.override_of(self.folders), *self.given]
        )

    @cached_property
    def labels(self) -> dict[Path, str]:
        """What tells each run from the others, by its folder: "RRM, 20 %, seed=3" or "method=rrm seed=3"."""
        parts = [*self.table.rows.values(), *self.table.columns.values()]
        own = {one.split("=", 1)[0] for part in parts for one in part}
        values: dict[str, dict[str, None]] = {}
        for run in self.runs:
            for key, _, value in (one.partition("=") for one in run.overrides):
                values.setdefault(key, {})[value] = None
        told = {key for key, found in values.items() if len(found) > 1 and key not in own}
        labels = {}
        rows, columns = self.table.rows, self.table.columns
        for run in self.runs:
            names = (name for name, among in ((run.row, rows), (run.column, columns)) if training(among.get(name, ())))
            swept = [one for one in run.overrides if one.split("=", 1)[0] in told] or [f"seed={run.seed}"]
            labels[run.folder] = ", ".join(filter(None, (*names, " ".join(swept))))
        return labels

    @property
    def asked(self) -> list[str]:
        """The overrides that make it another plan than the experiment's own."""
        return [one for one in self.given if re.split(r"[.=]", one.lstrip("+~"))[0] not in (*ELSEWHERE, "experiment")]


def plan(overrides: Sequence[str], config_dir: str | Path | None = None) -> Plan:
    """Composes every run that a sweep's overrides ask for.

    If rows or columns of the experiment's table set a key that is on the command line too, only those that set it to
    that value are kept, and of cells that it makes the same run the one that sets it. Unlike Hydra's sweeper, options
    of a swept group are checked against each of its choices.

    Args:
        overrides: as on the command line: "experiment=lilaw_table5", "seed=0,1", "noise.rate=0.4",
            "hydra.searchpath=[FOLDER]".
        config_dir: the user's folder of YAML files (Hydra's --config-dir).
    Raises:
        ConfigError: a choice, a key or a folder does not exist, or no row or column is kept.
    """
    folders, others = searchpath.folders_of(config_dir, overrides)
    with explained(), composer(folders) as compose, looked_at_once():
        return _plan(keyed(parsed_all(others, folders)), compose)


def _plan(given: dict[str, Override], compose: Composer) -> Plan:
    check_choices(given.values(), compose.folders)
    root = compose(_firsts(given, compose), with_hydra=True)
    table, params = expanded(plain(root.table)), root.hydra.sweeper.get("params") or {}
    rows, columns = (_kept(kind, table, given) for kind in ("rows", "columns"))
    swept = by_key([f"{key}={value}" for key, value in params.items()]) | given
    own = {key: swept.pop(key) for key in list(swept) if key.startswith("hydra.")}

    cells: list[list[tuple[list[str], str, str]]] = []
    combinations: dict[tuple[str, ...], list[list[str]]] = {}
    stated: dict[tuple[str, str], set[str]] = {}  # the keys that a row and column set
    for (column, of_column), (row, of_row) in itertools.product(columns.items(), rows.items()):
        decided = by_key([*of_column, *of_row])
        if unnamed := [line(override) for override in decided.values() if override.is_sweep_override()]:
            raise ConfigError([f"table: {row or column}: {unnamed[0]} has several values; put {{KEY}} into the name"])
        stated[row, column] = set(decided)
        free = tuple(key for key in swept if key not in decided)
        if free not in combinations:
            combinations[free] = products([swept[key] for key in free])
        chosen = [line(override) for override in decided.values()]
        seeds: dict[tuple[str, ...], list[tuple[list[str], str, str]]] = {}  # of each cell
        for product in combinations[free]:
            cell = tuple(override for override in product if not override.startswith("seed="))
            seeds.setdefault(cell, []).append((product + chosen, row, column))
        cells += seeds.values()
    if (count := sum(map(len, cells))) >= ANNOUNCED:
        log.info("planning %d runs", count)

    every = [
        Planned(overrides, compose.plain(overrides), row, column)
        for overrides, row, column in filter(None, itertools.chain(*itertools.zip_longest(*cells)))
    ]
    every = _told_apart(every, {cell: given.keys() & keys for cell, keys in stated.items()})
    runs: dict[Path, Planned] = {}
    for run in every:
        runs.setdefault(run.folder, run)
    planned = list(runs.values())
    first = compose([*planned[0].overrides, *(line(override) for override in own.values())], with_hydra=True)
    name = str(given["experiment"].value()) if "experiment" in given else "default"
    return Plan(name, root.experiment_name, first, planned, every, compose.folders, list(map(line, given.values())))


def _kept(kind: str, table: Plain, given: Mapping[str, Override]) -> dict[str, list[str]]:
    """The rows or columns that `only` and the command line keep; a nameless one if the table has none."""
    parts = {name: list(overrides) for name, overrides in table[kind].items()}
    if not parts:
        return {"": []}
    if table.only is not None and set(parts) & set(table.only):
        parts = {name: overrides for name, overrides in parts.items() if name in table.only}

    def agrees(override: Override) -> bool:
        asked = given.get(override.get_key_element())
        return asked is None or override.value() in values(asked)

    kept = {name: part for name, part in parts.items() if all(map(agrees, by_key(part).values()))}
    if not kept:
        keys = {override.get_key_element() for part in parts.values() for override in by_key(part).values()}
        asked = " ".join(line(override) for key, override in given.items() if key in keys)
        has = "; ".join(map(_described, parts.items()))
        raise ConfigError([f"{asked}: none of the table's {kind} sets this ({has})"])
    return kept


def _told_apart(every: Sequence[Planned], asked: Mapping[tuple[str, str], set[str]]) -> list[Planned]:
    """Without the cells that the command line made the same run as a cell that sets more of what is asked itself.

    With method.lr=0 the row "LiLAW" would show the runs of "LiLAW, frozen", [method=lilaw, method.lr=0], as its own.
    """
    most: dict[Path, int] = {}
    for run in every:
        most[run.folder] = max(most.get(run.folder, 0), len(asked[run.row, run.column]))
    return [run for run in every if len(asked[run.row, run.column]) == most[run.folder]]


def _described(part: tuple[str, list[str]]) -> str:
    return f"{part[0]}: {' '.join(part[1])}"


def _firsts(given: Mapping[str, Override], compose: Composer) -> list[str]:
    """The overrides with the first of several values; without a preset that is for the methods of the table's rows."""
    firsts = by_key([_first(override) for override in given.values()])
    try:
        compose.spelt(firsts)
    except ConfigError:
        del firsts[presets.GROUP]
    return list(map(line, firsts.values()))


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return line(override)
    first = next(iter(override.sweep_string_iterator()), None)
    if first is None:
        raise ConfigError([f"{line(override)} stands for no value"])
    return f"{override.get_key_element()}={first}"
