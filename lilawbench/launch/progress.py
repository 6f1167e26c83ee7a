"""Logs a line whenever a run of a sweep ends: which, its result, and the time left of the whole."""

import logging
import textwrap
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lilawbench.experiment.plan import Planned
from lilawbench.record import marks, redo
from lilawbench.record.selection import reached
from lilawbench.support.console import SWEEP
from lilawbench.support.distributed import join
from lilawbench.support.errors import DataError, first_line
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")

LOOK_SECONDS = 1.0
LONGEST = 100  # characters of an error in a line; the end of the sweep has it in full
KIND = ("dataset", "model", "method", "loss")


class Progress:
    """Watches the folders of pending runs while a launcher works on them: `with Progress(runs, total): ...`.

    The time left is the work left divided by the speed so far. A run's work is the mean time of finished runs of its
    kind (data set, model, method, loss, epochs); for a kind without any it is the mean of all, and the line says
    "roughly". Time in a queue and parallel runs are part of the speed.

    Args:
        runs: those that are left.
        total: runs of the whole sweep, including those done before.
        labels: what to call the runs, by their folders.
    """

    def __init__(self, runs: Sequence[Planned], total: int, labels: Mapping[Path, str] | None = None):
        self.labels = labels or {}
        self.left = {run.folder: kind(run) for run in runs}
        self.total, self.before = total, total - len(runs)
        self.seconds: dict[tuple, list[float]] = defaultdict(list)
        self.failed = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Progress":
        self.started = time.monotonic()
        if join().is_main:
            self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join()
            self.look()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Logs a line for each run that has ended since the last look."""
        for folder, of in list(self.left.items()):
            try:
                here = redo.working_folder(folder)
                if here == folder and (result := marks.result(folder)) is not None:
                    seconds = result.get("seconds_total") or 0.0
                    self.seconds[of].append(seconds)
                    became = f"{reached(result)}, {duration(seconds)}"
                elif marks.is_there(here / "failed.json") and self._is_new(here / "failed.json"):
                    self.failed += 1
                    became = _failed(marks.failure(here) or "")
                else:
                    continue
            except DataError as error:
                self.failed += 1
                became = _failed(str(error))
            del self.left[folder]
            number = f"[{self.total - len(self.left)}/{self.total}]"
            so_far = self.line(time.monotonic() - self.started)
            log.info("%s %s: %s (%s)", number, self.labels.get(folder, folder.name), became, so_far, extra=SWEEP)

    def line(self, elapsed: float) -> str:
        """1 failed, 10 min so far, 50 min left

        Args:
            elapsed: seconds since the start.
        """
        parts = [f"{self.failed} failed"] if self.failed else []
        parts.append(f"{duration(elapsed)} so far")
        seconds, known = self.seconds_left(elapsed)
        if self.left and seconds is not None:
            parts.append(f"{'' if known else 'roughly '}{duration(seconds)} left")
        return ", ".join(parts)

    def seconds_left(self, elapsed: float) -> tuple[float | None, bool]:
        """The time left, None while it is unknown, and whether a run of each kind that is left has finished."""
        all_seconds = [seconds for of_kind in self.seconds.values() for seconds in of_kind]
        if not sum(all_seconds):
            return None, False
        mean = sum(all_seconds) / len(all_seconds)
        means = {kind: sum(of_kind) / len(of_kind) for kind, of_kind in self.seconds.items()}
        work = sum(means.get(kind, mean) for kind in self.left.values())
        return work * elapsed / sum(all_seconds), all(kind in means for kind in self.left.values())

    def _is_new(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime > time.time() - (time.monotonic() - self.started) - 1
        except OSError:
            return False


def _failed(error: str) -> str:
    return "failed: " + textwrap.shorten(first_line(error), LONGEST, placeholder=" ...")


def kind(run: Planned) -> tuple:
    """What decides how long a run takes."""
    return (*(run.cfg[group].name for group in KIND), run.cfg.train.epochs, run.cfg.train.finetune)


def kind_of(result: Mapping[str, Tree]) -> tuple:
    """The same of a finished run."""
    names = (result.get(f"config.{group}.name") for group in KIND)
    return (*names, result.get("config.train.epochs"), result.get("config.train.finetune"))


def duration(seconds: float) -> str:
    """42 s, 7 min, 3 h 05 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
