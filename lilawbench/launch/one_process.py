"""launcher=joblib with one process: a run that kills its process fails, and the others are done."""

import re
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress

from hydra.core.singleton import Singleton
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
from joblib.externals.loky import get_reusable_executor

from lilawbench.experiment.plan import Planned
from lilawbench.launch.jobs import Jobs
from lilawbench.record import marks, redo
from lilawbench.record.identity import RunRecord
from lilawbench.record.writer import write_json
from lilawbench.support.atomic import writable
from lilawbench.support.errors import UserError
from lilawbench.support.hydra_private import job_of_joblib


def one_by_one(
    launcher: JoblibLauncher, task: Jobs, jobs: Sequence[Sequence[str]], runs: Sequence[Planned]
) -> list[RunRecord]:
    """Does one run after the other in a process beside this one, which joblib itself would not start for one.

    The process is kept for the next run. To start it takes some three seconds, most of them for torch.

    Args:
        launcher: that has been set up for `task`.
        jobs: the overrides of the job of each run.
    Returns:
        The records of the runs, less those that had finished when their process died.
    """
    records: list[RunRecord] = []
    execute_job = job_of_joblib()
    shared = launcher.hydra_context, launcher.config, task, Singleton.get_state()
    for number, (overrides, run) in enumerate(zip(jobs, runs, strict=True)):
        executor = get_reusable_executor(max_workers=1)  # a new one if the last is broken
        try:
            records += executor.submit(execute_job, number, overrides, *shared).result().return_value
        except BrokenExecutor as error:
            records += _died(run, error)
            if run.cfg.sweep.stop_on_failure:
                task.stop_mark.touch()
        except BaseException:
            executor.shutdown(kill_workers=True)
            raise
    return records


def _died(run: Planned, error: BrokenExecutor) -> list[RunRecord]:
    """Marks a run as failed in its process's stead, unless it had finished."""
    codes = re.search(r"exit codes .*\{(.+)\}", str(error))  # of loky: SIGKILL(-9)
    reason = f"its process died{f' ({codes[1]})' if codes else ''}, perhaps out of memory: lower train.batch_size"
    with suppress(UserError):  # without the file the run is tried again
        here = redo.working_folder(run.folder)
        if marks.is_there(here / "result.json"):
            return []
        with writable(here):
            here.mkdir(parents=True, exist_ok=True)
        write_json(here / "failed.json", {"error": reason})
    return [RunRecord(run.folder, "failed", error=reason, exit_code=1)]
