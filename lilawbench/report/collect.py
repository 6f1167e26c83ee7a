"""Reads finished runs from disk, one row per run."""

import gc
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lilawbench.record.identity import renamed
from lilawbench.record.marks import REPAIR, checked, failure
from lilawbench.report import cache
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame

log = logging.getLogger("lilawbench")

RUN_FILES = {"config.yaml", "labels.npz", "metrics.jsonl", "checkpoint.pt", "result.json", "failed.json"}
KINDS = ("epoch", "step", "method")  # of lines in metrics.jsonl
_KEPT: "ContextVar[dict[str, DataFrame] | None]" = ContextVar("epochs of runs by folder", default=None)
NO_RUNS = ("conf", "mlruns")  # folders; MLflow's has several for each run
SHOWN = 3  # folders of a kind that are named in a message; further ones are counted

Folders = str | Path | Iterable[str | Path]


class Unfinished(NamedTuple):
    """A run folder without a result."""

    folder: Path
    state: str  # "failed" (with an error) | "unfinished" (interrupted, or still running)
    reason: str


def collect(folders_or_root: Folders) -> "DataFrame":
    """One row per finished run found in or below the folder(s).

    Damaged result files, those of another version and folders that cannot be listed are left out, with a warning that
    names them; `unfinished` lists them. After the first call only new and changed result files are opened (see
    `cache`).

    Returns:
        DataFrame whose columns are the flat keys of result.json, plus "folder" (str); a key that a run
        lacks is NaN. config.* columns hold plain Python values. Without runs: no rows, no columns.
    Raises:
        DataError: a folder does not exist.
    """
    import pandas as pd

    records, refused = [], dict[str, list[str]]()
    with _without_collector():
        for root, runs in _found(folders_or_root):
            for folder, text in _texts(root, runs):
                try:
                    records.append(_record(folder, text))
                except DataError as error:
                    refused.setdefault(str(error), []).append(folder)
    if refused:
        log.warning(_left_out(refused, len(records)))
    table = pd.DataFrame(records, dtype=object)
    measured = [column for column in table if not column.startswith("config.")]
    table = table.assign(**{column: table[column].infer_objects() for column in measured})
    return table.copy()  # one block again: pandas warns of fragmented columns


def unfinished(folders_or_root: Folders, runs: "DataFrame | None" = None) -> list[Unfinished]:
    """The runs in or below the folder(s) that have no result.json, with the reason where one is recorded.

    Args:
        runs: the result of `collect` for the folders; a result.json that is not in it is then listed as unreadable.
    """
    folders = [run for _, found in _found(folders_or_root) for run in found]
    missing = [_why(Path(run.folder)) for run in folders if not run.mark]
    if runs is not None:
        collected = set() if runs.empty else set(runs["folder"])
        lost = [run for run in folders if run.mark and run.folder not in collected]
        missing += [Unfinished(Path(run.folder), "unreadable", _why_not(run)) for run in lost]
    return missing


def read_metrics(folder: str | Path, kind: str) -> "DataFrame":
    """The lines of one kind of a run's metrics.jsonl.

    Args:
        folder: the run's folder.
        kind: "epoch" (one row per epoch, from 1), "step" (one row per logged step, from 1 over the run) or "method"
            (an epoch's tables, lists, where the method has some).
    Raises:
        DataError: the file does not exist, or a line is damaged.
    """
    kept = _KEPT.get()
    if kept is None or kind != "epoch":  # steps are asked for by one figure, and may be a hundred times as many
        return _frame(folder, kind)
    if str(folder) not in kept:
        kept[str(folder)] = _frame(folder, kind)
    return kept[str(folder)].copy()


@contextmanager
def reading_once() -> Iterator[None]:
    """Within it, `read_metrics` reads the epochs of a run a single time, whoever asks."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def _frame(folder: str | Path, kind: str) -> "DataFrame":
    import pandas as pd

    return pd.DataFrame(list(_lines(Path(folder) / "metrics.jsonl", kind)))


def logged_at_steps(folder: str | Path) -> list[str]:
    """The names in the first logged step of a run; reads no more of its metrics.jsonl. Raises: see `read_metrics`."""
    return list(next(_lines(Path(folder) / "metrics.jsonl", "step"), {}))


def has_labels(folder: str | Path) -> bool:
    """Whether a run's labels.npz is there."""
    return (Path(folder) / "labels.npz").exists()


def read_labels(folder: str | Path) -> "dict[str, np.ndarray]":
    """The arrays of a run's labels.npz. Raises: DataError, it is missing or damaged."""
    return read_arrays(Path(folder) / "labels.npz")


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """The arrays of a file of a run. Raises: DataError, it is missing or damaged."""
    import numpy as np

    try:
        with path.open("rb") as file:  # np.load leaves a damaged archive open
            return dict(np.load(file, allow_pickle=False))
    except Exception as error:  # of zip, zlib or NumPy, by where the damage is
        raise DataError(f"cannot read {path}: {error}. Delete the folder and start the run again.") from None


def _lines(path: Path, kind: str) -> Iterator[dict]:
    """Lines of other kinds are not parsed: there may be 100 times as many."""
    others = tuple(f'{{"kind": "{other}",' for other in KINDS if other != kind)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.startswith(others):
                    continue
                row = _parse(line, f"{path}, line {number}")
                if row.get("kind") == kind:
                    yield row
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}. {REPAIR}") from None


@contextmanager
def _without_collector() -> Iterator[None]:
    """JSON has no cycles; the collector would search the thousands of lists of it again and again."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


class _Run(NamedTuple):
    """A run folder, as found on disk."""

    folder: str
    mark: tuple[int, int, int] | None  # size, mtime_ns and inode of result.json; None if there is none
    problem: str = ""  # why the folder cannot be listed


def _found(folders: Folders) -> Iterator[tuple[str, list[_Run]]]:
    """The runs in or below each of the given folders, each run once."""
    seen = set()
    for root in [folders] if isinstance(folders, str | Path) else folders:
        if not Path(root).is_dir():
            raise DataError(f"there is no folder {root}. Name a folder of runs (their paths.output_dir).")
        root, real, runs = str(Path(root)), os.path.realpath(root), []
        for run in _walk(root):
            if (place := real + run.folder[len(root) :]) not in seen:  # links below the root are not followed
                seen.add(place)
                runs.append(run)
        yield root, runs


def _walk(place: str) -> Iterator[_Run]:
    """Every run folder in or below a folder, sorted; not in hidden ones, conf/ and mlruns/. No file is opened."""
    try:
        with os.scandir(place) as entries:
            here = {entry.name: entry for entry in entries}
    except FileNotFoundError:  # removed in the meantime
        return
    except OSError as error:
        yield _Run(
            place, (0, 0, 0), f"the folder cannot be listed: {error.strerror}. Make it readable, or move it away."
        )
        return
    if not RUN_FILES.isdisjoint(here):  # nothing inside a run is a run (wandb has a config.yaml too)
        yield _Run(place, _mark(here.get("result.json")))
        return
    for name in sorted(here):
        if not name.startswith(".") and name not in NO_RUNS and here[name].is_dir(follow_symlinks=False):
            yield from _walk(os.path.join(place, name))


def _mark(entry: os.DirEntry | None) -> tuple[int, int, int] | None:
    try:
        stat = entry.stat() if entry else None
    except FileNotFoundError:
        return None
    except OSError:  # reading it will tell
        return 0, 0, 0
    return stat and (stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _texts(root: str, runs: list[_Run]) -> Iterator[tuple[str, str | DataError]]:
    """The text of every result.json, or why there is none; from the cache if the file has not changed."""
    cached = cache.load(root) if len(runs) >= cache.WORTH else {}
    kept: dict[cache.Key, str] = {}
    for run in runs:
        if run.mark is None:
            continue
        key = (run.folder[len(root) :], *run.mark)
        text = cached[key] if key in cached else _read(run)
        if isinstance(text, str):
            kept[key] = text
        yield run.folder, text
    if len(kept) >= cache.WORTH and kept.keys() != cached.keys():
        cache.save(root, kept)


def _read(run: _Run) -> str | DataError:
    if run.problem:
        return DataError(run.problem)
    try:
        with open(os.path.join(run.folder, "result.json"), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        return DataError(f"result.json cannot be read: {reason}. {REPAIR}")


def _record(folder: str, text: str | DataError) -> dict:
    """Raises: DataError without the folder's name, so that all files with the same fault have the same message."""
    if isinstance(text, DataError):
        raise text
    record = checked(_parse(text, "result.json"))
    target = "config.dataset._target_"
    moved = {target: renamed(record[target])} if target in record else {}
    return {**record, **moved, "folder": folder}


def _left_out(refused: dict[str, list[str]], readable: int) -> str:
    count = sum(map(len, refused.values()))
    lines = [f"{count} of {readable + count} runs are left out, since they cannot be read:"]
    for reason, folders in refused.items():
        lines.append(f"- {len(folders)} run{'' if len(folders) == 1 else 's'}: {reason}")
        lines += [f"    {folder}" for folder in folders[:SHOWN]]
        lines += [f"    and {len(folders) - SHOWN} more"] if len(folders) > SHOWN else []
    return "\n".join(lines)


def _parse(line: str, where: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}). {REPAIR}") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(value).__name__}. {REPAIR}")
    return value


def _why(folder: Path) -> Unfinished:
    if (error := failure(folder)) is None:
        return Unfinished(folder, "unfinished", "interrupted or still running; the same command resumes it")
    return Unfinished(folder, "failed", error)


def _why_not(run: _Run) -> str:
    try:
        _record(run.folder, _read(run))
    except DataError as error:
        return str(error)
    return "finished while the folders were read"
