"""A launcher's job: some runs of a sweep, one after the other, as listed in a file next to the runs."""

import hashlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from lilawbench.experiment.composer import composer
from lilawbench.experiment.plan import Planned
from lilawbench.launch import preempt
from lilawbench.record.data import looked_at_once
from lilawbench.record.identity import RunRecord, run_folder
from lilawbench.record.lock import FRESH_SECONDS
from lilawbench.support.atomic import writable, write_atomic
from lilawbench.support.distributed import join


@dataclass(frozen=True)
class Jobs:
    """The task function of a sweep's jobs: does the runs of job `cfg.sweep.job` and returns their records.

    Jobs may be processes on other machines, so this holds the file's path and no config, and `attempt` must be
    importable.

    Args:
        path: of the file of jobs, on a file system that all jobs see.
        attempt: does one run and turns whatever happens into a record.
    """

    path: Path
    attempt: Callable[[DictConfig], RunRecord]

    @classmethod
    def write(
        cls,
        jobs: Sequence[Sequence[Planned]],
        folder: Path,
        attempt: Callable[[DictConfig], RunRecord],
        folders: Sequence[Path] = (),
    ) -> "Jobs":
        """Writes the file of jobs into `folder`, named by a hash of its content.

        Args:
            folders: the user's folders of YAML files and code, which the jobs need too.
        """
        planned = [[[str(run.folder), run.overrides] for run in job] for job in jobs]
        tree = {"folders": list(map(str, folders)), "jobs": planned}
        text = json.dumps(tree, indent=1)
        path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
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
        if cfg.launcher.name == "joblib":
            from lilawbench.launch.machine import take_gpu  # which imports torch

            take_gpu(cfg.launcher.runs_per_gpu)
        records = []
        with composer(list(map(Path, tree["folders"]))) as compose:
            waiting = deque((Path(folder), overrides, 1) for folder, overrides in tree["jobs"][cfg.sweep.job])
            tries = 3 if cfg.launcher.name == "slurm" else 2
            while waiting and not join().agree(self.stop_mark.exists()):
                folder, overrides, number = waiting.popleft()
                if number == 3:
                    time.sleep(FRESH_SECONDS)
                run = compose(overrides)
                with looked_at_once():
                    record = self.attempt(run) if run_folder(run).name == folder.name else _renamed(folder)
                preempt.reraise()
                if record.status == "busy" and number < tries:
                    waiting.append((folder, overrides, number + 1))
                    continue
                records.append(record)
                if record.error and join().is_main:
                    print(f"lilawbench: {record.error}", file=sys.stderr, flush=True)
                if record.status == "failed" and run.sweep.stop_on_failure and join().is_main:
                    self.stop_mark.touch()
        return records


def _renamed(folder: Path) -> RunRecord:
    """The record of a run whose name has changed since it was planned."""
    error = "the user's code or data have changed since the sweep was planned: start the same command again"
    return RunRecord(folder, "failed", error=error, exit_code=1)
