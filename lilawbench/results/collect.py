"""Reads finished runs back from disk: one table row per run, named by its setting and its method."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lilawbench.errors import DataError
from lilawbench.results.record import NOT_IDENTITY, SCHEMA_VERSION
from lilawbench.tasks import PLAIN_LOSSES, TASKS

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# Leaves of the config that define the method; all others but the book-keeping define the setting.
METHOD = ("config.method", "config.loss")
IN_LABEL = ("config.loss.name", "config.loss._target_")  # a plain loss follows from the task
BOOKKEEPING = ("config.seed", *(f"config.{group}" for group in NOT_IDENTITY))
RUN_FILES = {"config.yaml", "labels.npz", "metrics.jsonl", "checkpoint.pt", "result.json", "failed.json"}
REQUIRED = ("config.seed", "config.method.name", "config.dataset.name")


class Unfinished(NamedTuple):
    """A run folder without a result."""

    folder: Path
    state: str  # "failed" (it stopped by itself) | "unfinished" (broken off, or still running)
    reason: str


def collect(folders_or_root: str | Path | Iterable[str | Path]) -> "DataFrame":
    """One row per finished run found in or below the folder(s).

    Returns:
        DataFrame whose columns are the flat keys of result.json, plus "folder" (str); a key that a run
        does not have is NaN. config.* columns hold plain Python values. No run: no rows, no columns.
    Raises:
        DataError: a folder is not there, or a result.json is damaged.
    """
    import pandas as pd

    records = [_read_result(folder) for folder in _run_folders(folders_or_root) if (folder / "result.json").exists()]
    table = pd.DataFrame(records, dtype=object)
    measured = [column for column in table if not column.startswith("config.")]
    table = table.assign(**{column: table[column].infer_objects() for column in measured})
    return table.copy()  # in one piece again: pandas warns of many columns that lie apart


def unfinished(folders_or_root: str | Path | Iterable[str | Path]) -> list[Unfinished]:
    """The runs in or below the folder(s) that have no result.json, with the reason where one is recorded."""
    return [_why(folder) for folder in _run_folders(folders_or_root) if not (folder / "result.json").exists()]


def read_metrics(folder: str | Path, kind: str) -> "DataFrame":
    """The lines of one kind of a run's metrics.jsonl.

    Args:
        folder: the run's folder.
        kind: "epoch" (one row per epoch, from 1), "step" (one row per logged step, from 1 over the run) or "method"
            (an epoch's tables, lists, where the method has some).
    Raises:
        DataError: the file is not there, or a line is damaged.
    """
    import pandas as pd

    path, rows = Path(folder) / "metrics.jsonl", []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                row = _parse(line, f"{path}, line {number}")
                if row.get("kind") == kind:
                    rows.append(row)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}. {_MEND}") from None
    return pd.DataFrame(rows)


def with_names(runs: "DataFrame") -> "DataFrame":
    """Adds three text columns, which are the vocabulary of all tables and plots.

    method: "ce", "lilaw", "lilaw + focal" (a loss that is not the task's plain one), and, where several
        configs would share that label, the leaves in which they differ: "lilaw (warmup_epochs=2)".
    scene: the setting in full: "digits, symmetric 0.4, mlp".
    setting: the same with only what differs between the settings of `runs`: "symmetric 0.4"; equal to
        scene if there is one setting only.
    """
    if runs.empty:
        return runs.assign(method="", scene="", setting="")
    leaves = [column for column in runs if column.startswith("config.") and not _below(column, BOOKKEEPING)]
    method_leaves = [leaf for leaf in leaves if _below(leaf, METHOD) and leaf not in IN_LABEL]
    setting_leaves = [leaf for leaf in leaves if not _below(leaf, METHOD)]
    rows = runs.to_dict("records")

    labels = [_method_label(row) for row in rows]
    extras = _differences(labels, rows, method_leaves)
    methods = [f"{label} ({', '.join(extra)})" if extra else label for label, extra in zip(labels, extras)]

    parts = [_scene_parts(row) for row in rows]
    extras = _differences([", ".join(filter(None, part)) for part in parts], rows, setting_leaves)
    scenes = [", ".join([*filter(None, part), *extra]) for part, extra in zip(parts, extras)]
    varies = [len(set(values)) > 1 for values in zip(*parts)]
    short = [", ".join([p for p, v in zip(part, varies) if v and p] + extra) for part, extra in zip(parts, extras)]
    settings = [s or scene for s, scene in zip(short, scenes)] if len(set(scenes)) > 1 else scenes
    return runs.assign(method=methods, scene=scenes, setting=settings)


def tasks(runs: "DataFrame") -> "Series":
    """The task of each run; records from before there were several are of one class a sample."""
    import pandas as pd

    return runs["task"].fillna("multiclass") if "task" in runs else pd.Series("multiclass", index=runs.index)


def measures(runs: "DataFrame") -> list[str]:
    """What the runs are judged by: "accuracy", "mAP", "rmse", those that occur."""
    present = set(tasks(runs))
    return list(dict.fromkeys(task.measure for task in TASKS.values() if task.name in present))


def text(value: Any) -> str | None:
    """One spelling per value: 1 and 1.0 are "1", True is "true", a list is compact JSON; missing or null is None."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _method_label(row: dict) -> str:
    method, loss = text(row["config.method.name"]), text(row.get("config.loss.name"))
    return method if loss in (None, *PLAIN_LOSSES, method) else f"{method} + {loss}"


def _scene_parts(row: dict) -> tuple[str, str, str]:
    noise, rate = text(row.get("config.noise.name")) or "", text(row.get("config.noise.rate"))
    if noise == "none":
        noise = "no noise"
    elif rate is not None:
        noise = f"{noise} {rate}"
    return text(row["config.dataset.name"]), noise, text(row.get("config.model.name")) or ""


def _differences(labels: list[str], rows: list[dict], leaves: list[str]) -> list[list[str]]:
    """For every row the "leaf=value" in which rows of its label differ; empty where the label says it all."""
    groups: dict[str, list[dict]] = {}
    for label, row in zip(labels, rows):
        groups.setdefault(label, []).append(row)
    differing = {
        label: [leaf for leaf in leaves if len({text(row[leaf]) for row in group}) > 1]
        for label, group in groups.items()
    }
    return [
        [f"{_short(leaf)}={text(row[leaf])}" for leaf in differing[label] if text(row[leaf]) is not None]
        for label, row in zip(labels, rows)
    ]


def _short(leaf: str) -> str:
    return leaf.removeprefix("config.").removeprefix("method.")


def _below(leaf: str, groups: tuple[str, ...]) -> bool:
    return any(leaf == group or leaf.startswith(group + ".") for group in groups)


def _run_folders(folders: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    """Every run folder in or below the given ones, once each, sorted; not in hidden ones and conf/."""
    seen = set()
    for root in [folders] if isinstance(folders, str | Path) else folders:
        if not Path(root).is_dir():
            raise DataError(f"there is no folder {root}. Name a folder of runs (paths.output_dir of the runs).")
        for place, below, files in os.walk(root):
            below[:] = sorted(name for name in below if not name.startswith(".") and name != "conf")
            if RUN_FILES.isdisjoint(files):
                continue
            below.clear()  # whatever a run keeps inside (for example wandb's own config.yaml) is not a run
            if (real := os.path.realpath(place)) not in seen:
                seen.add(real)
                yield Path(place)


_MEND = "The file is damaged or incomplete: delete it and start the run again with the same command."


def _parse(line: str, where: str) -> dict:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}). {_MEND}") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON object is expected, found {type(value).__name__}. {_MEND}")
    return value


def _read_result(folder: Path) -> dict:
    path = folder / "result.json"
    try:
        record = _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}. {_MEND}") from None
    if record.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema_version is {record.get('schema_version')}, this lilawbench reads {SCHEMA_VERSION}. "
            "Read it with the version that wrote it, or run it again."
        )
    if missing := [key for key in REQUIRED if record.get(key) is None]:
        raise DataError(f"{path}: no {', '.join(missing)}. {_MEND}")
    return {**record, "folder": str(folder)}


def _why(folder: Path) -> Unfinished:
    path = folder / "failed.json"
    if not path.exists():
        return Unfinished(folder, "unfinished", "broken off or still running; the same command goes on with it")
    try:
        return Unfinished(folder, "failed", str(_parse(path.read_text(encoding="utf-8"), str(path)).get("error")))
    except (OSError, UnicodeDecodeError, DataError):
        return Unfinished(folder, "failed", "failed.json cannot be read")
