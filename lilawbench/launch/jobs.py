"""A launcher's job: some runs of a sweep, one after the other, as listed in a file next to the runs."""

import contextlib
import json
import os
import re
import socket
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lilawbench.experiment.composer import Composer, composer
from lilawbench.experiment.plan import Planned
from lilawbench.launch import preempt
from lilawbench.record import provenance
from lilawbench.record.data import looked_at_once
from lilawbench.record.identity import RunRecord, run_folder
from lilawbench.record.lock import FRESH_SECONDS, alive
from lilawbench.support.atomic import writable, write_atomic
from lilawbench.support.console import doing
from lilawbench.support.distributed import join
from lilawbench.support.errors import UserError
from lilawbench.support.parent import end_with

CHANGED = "the user's files have changed since the sweep was planned: start the same command again"
LEFT_SECONDS = 30 * 24 * 3600.0  # another host's file of jobs that is as old was left by a killed command


def ledger_of(path: Path) -> Path:
    """The file that lists the jobs on a cluster which read a file of jobs; it is there until they have ended."""
    return path.parent.parent / ".slurm" / f"{path.stem}.json"


def _remove_left(folder: Path) -> None:
    """Removes the files of commands that were killed, but not those that jobs on a cluster still read."""
    own = re.compile(rf"{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]{{8}}")
    for path in (*folder.glob("*.json"), *folder.glob("*.stop")):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            here = own.fullmatch(path.stem)
            is_left = not alive(int(here[1])) if here else time.time() - path.stat().st_mtime > LEFT_SECONDS
            if is_left and not ledger_of(path).exists():
                path.unlink()


@dataclass(frozen=True)
class Jobs:
    """The task function of a sweep's jobs: does the runs of job `cfg.sweep.job` and returns their records.

    Jobs may be processes on other machines, so this holds the file's path and no config, and `attempt` must be
    importable.

    Args:
        path: of the file of jobs, on a file system that all jobs see.
        attempt: does one run and turns whatever happens into a record.
        command: id of the process that launches the jobs.
    """

    path: Path
    attempt: Callable[[DictConfig], RunRecord]
    command: int = field(default_factory=os.getpid)

    @classmethod
    def write(
        cls,
        jobs: Sequence[Sequence[Planned]],
        folder: Path,
        attempt: Callable[[DictConfig], RunRecord],
        folders: Sequence[Path] = (),
        labels: Mapping[Path, str] | None = None,
    ) -> "Jobs":
        """Writes the file of jobs into `folder`, named by host, process and chance: no other command has the same.

        Args:
            folders: the user's folders of YAML files and code, which the jobs need too.
            labels: what the runs are called, by their folders.
        """
        names = labels or {}
        planned = [[[str(run.folder), run.overrides, names.get(run.folder, "")] for run in job] for job in jobs]
        tree = {"folders": list(map(str, folders)), "command": provenance.command(), "jobs": planned}
        text = json.dumps(tree, indent=1)
        path = folder / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _remove_left(folder)
        write_atomic(path, text)
        return cls(path, attempt)

    def remove(self) -> None:
        """To be called when all jobs have ended."""
        self.path.unlink(missing_ok=True)
        self.stop_mark.unlink(missing_ok=True)

    @property
    def stop_mark(self) -> Path:
        """The file that stops all jobs before their next run."""
        return self.path.with_suffix(".stop")

    def __call__(self, cfg: DictConfig) -> list[RunRecord]:
        """Does the runs of a job. A run that another process is doing is tried again after the others.

        On a cluster that process may have died with its node; its lock shows this only when it is old: a third try.
        """
        tree = json.loads(self.path.read_text(encoding="utf-8"))
        provenance.asked_by(tree["command"])
        if cfg.launcher.name == "joblib":
            from lilawbench.launch.machine import take_gpu  # which imports torch

            end_with(self.command)
            take_gpu(cfg.launcher.runs_per_gpu)
        records = []
        with composer(list(map(Path, tree["folders"]))) as compose:
            waiting = deque((Path(folder), *rest, 1) for folder, *rest in tree["jobs"][cfg.sweep.job])
            tries = 3 if cfg.launcher.name == "slurm" else 2
            while waiting and not join().agree(self.stop_mark.exists()):
                folder, overrides, label, number = waiting.popleft()
                if number == 3:
                    time.sleep(FRESH_SECONDS)
                with doing(label):
                    record, is_last = self._attempt(compose, overrides, folder)
                preempt.reraise()
                if record.status == "busy" and number < tries:
                    waiting.append((folder, overrides, label, number + 1))
                    continue
                records.append(record)
                if record.error and join().is_main and cfg.launcher.name == "slurm":  # into the job's log
                    with contextlib.suppress(OSError):  # nobody reads on
                        print(f"lilawbench: {record.error}", file=sys.stderr, flush=True)
                if is_last and join().is_main:
                    self.stop_mark.touch()
        return records

    def _attempt(self, compose: Composer, overrides: list[str], folder: Path) -> tuple[RunRecord, bool]:
        """Does a run, unless its config is no longer that which was planned.

        Returns:
            Its record, and whether sweep.stop_on_failure makes it the last.
        """
        try:
            run = compose(overrides)
            same = run_folder(run).name == folder.name
        except (UserError, HydraException, OmegaConfBaseException, OSError) as error:
            return RunRecord(folder, "failed", error=f"{CHANGED} ({error})", exit_code=1), False
        with looked_at_once():
            record = self.attempt(run) if same else RunRecord(folder, "failed", error=CHANGED, exit_code=1)
        return record, record.status == "failed" and run.sweep.stop_on_failure
