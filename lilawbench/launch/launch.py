"""Gets the runs of a plan done: those that are left go to a Hydra launcher."""

import logging
import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from lilawbench.config import plain, to_dict
from lilawbench.experiment.plan import Plan, Planned
from lilawbench.launch.jobs import Jobs
from lilawbench.launch.options import check_launcher
from lilawbench.launch.progress import Progress
from lilawbench.launch.state import LAST_SWEEP
from lilawbench.record import marks, redo
from lilawbench.record.identity import RunRecord
from lilawbench.record.writer import write_json
from lilawbench.support.atomic import writable
from lilawbench.support.console import SWEEP, a_line_each
from lilawbench.support.distributed import join
from lilawbench.support.errors import ConfigError, UserError
from lilawbench.support.hydra_private import launch_context
from lilawbench.support.plain import Options
from lilawbench.support.searchpath import CONF, quoted

log = logging.getLogger("lilawbench")

Attempt = Callable[[DictConfig], RunRecord]


def launch(plan: Plan, attempt: Attempt) -> list[RunRecord]:
    """Does the runs of a plan that are left and returns the records of all its runs, in the plan's order.

    Finished runs are skipped unless sweep.redo is set, interrupted ones resume, failed ones are repeated if
    sweep.retry_failed is set. A run that fails does not stop the others.

    Args:
        attempt: see `Jobs`.
    Raises:
        UserError: the launcher cannot start (no Slurm, no such partition, no such option).
        KeyboardInterrupt: Ctrl-C; the same command resumes.
    """
    world = join()
    check_launcher(plain(plan.cfg.launcher))
    again, retry = [run.folder for run in plan.runs if run.cfg.sweep.redo], plan.cfg.sweep.retry_failed
    unmarked = world.main_does(lambda: redo.mark(again, retry))
    records = {run.folder: record for run in plan.runs if (record := settled(run)) is not None}
    records |= {folder: _failed(folder, error) for folder, error in unmarked.items()}
    problematic = refused([run for run in plan.runs if run.folder not in records])
    records = world.agree(records | problematic)
    pending = [run for run in plan.runs if run.folder not in records]
    if pending:
        places = ", ".join(dict.fromkeys(str(run.folder.parent) for run in plan.runs))
        before = [record.status for record in records.values()]
        counts = f"{len(pending)} to do, {before.count('skipped')} finished before"
        counts += f", {before.count('failed')} failed before or refused"
        log.info("%d run%s in %s: %s", len(plan.runs), "s" * (len(plan.runs) > 1), places, counts, extra=SWEEP)
        with a_line_each() if len(plan.runs) > 1 else nullcontext(), Progress(pending, len(plan.runs), plan.labels):
            world.main_does(lambda: _note(plan))
            try:
                returned, problems = _launch(plan, pending, attempt)
            except UserError:  # nothing was begun
                world.main_does(lambda: _withdraw(plan))
                raise
        records |= {record.folder: record for record in returned}
        lost = [run for run in pending if run.folder not in records]
        records |= {run.folder: _lost(run, problems.get(run.folder, "")) for run in lost}
    world.main_does(lambda: redo.unmark(run for run in again if records[run].exit_code == 2))  # they were refused
    if world.is_main and len(plan.runs) == 1 and (error := records[plan.runs[0].folder].error):
        print(f"lilawbench: {error}", file=sys.stderr, flush=True)  # for several runs, in the summary
    return [records[run.folder] for run in plan.runs]


def _note(plan: Plan) -> None:
    """Leaves what a sweep is to do in its folders, for `lilawbench.status`."""
    if len(plan.runs) < 2:
        return
    for place in dict.fromkeys(run.folder.parent for run in plan.runs):
        names = [run.folder.name for run in plan.runs if run.folder.parent == place]
        with writable(place):
            place.mkdir(parents=True, exist_ok=True)
        write_json(place / LAST_SWEEP, {"command": plan.command, "runs": names})


def _withdraw(plan: Plan) -> None:
    """Removes what a refused sweep has left, its empty folders too."""
    for place in dict.fromkeys(run.folder.parent for run in plan.runs):
        with suppress(OSError):
            (place / LAST_SWEEP).unlink(missing_ok=True)
            for folder in (place / ".sweep", place, place.parent):
                folder.rmdir()


def settled(run: Planned, retry: bool | None = None) -> RunRecord | None:
    """The record of a run that is finished, or failed and not to be repeated; None if it has to be done.

    Args:
        retry: whether failed runs are repeated; None: as sweep.retry_failed says.
    """
    try:
        redo.settle(run.folder)
        here = redo.working_folder(run.folder) if run.cfg.sweep.redo else run.folder
        if (result := marks.result(here)) is not None:
            return RunRecord(run.folder, "skipped", result)
        retry = run.cfg.sweep.retry_failed if retry is None else retry
        error = None if retry else marks.failure(here)
    except (UserError, OSError) as damaged:  # fails this run, not the sweep
        return _failed(run.folder, damaged)
    if error is None:
        return None
    return _failed(run.folder, f"failed before: {error} (sweep.retry_failed=true tries again)")


def _failed(folder: Path, error: object) -> RunRecord:
    return RunRecord(folder, "failed", error=str(error), exit_code=1)


def refused(runs: Sequence[Planned]) -> dict[Path, RunRecord]:
    """Records of the runs whose config cannot run, so that no job waits in a queue for them."""
    if not runs:
        return {}
    from lilawbench.check import check  # which imports torch

    verdicts: dict[tuple[str, ...], str] = {}
    records = {}
    for run in runs:
        cell = tuple(override for override in run.overrides if not override.startswith("seed="))
        if cell not in verdicts:
            try:
                check(run.cfg)
                verdicts[cell] = ""
            except ConfigError as error:
                verdicts[cell] = str(error)
        if verdicts[cell]:
            records[run.folder] = RunRecord(run.folder, "failed", error=verdicts[cell], exit_code=2)
    return records


def _launch(plan: Plan, pending: Sequence[Planned], attempt: Attempt) -> tuple[list[RunRecord], dict[Path, str]]:
    """The records that jobs returned, and what is known of the runs whose job did not return.

    A process of joblib that dies, most likely out of memory, takes those beside it with it: then half as many try
    again. Where one is left, each run is alone in it, and fails alone if it dies. joblib never works in this process,
    also with launcher.processes=1 or a single run; launcher=local does.
    """
    if plan.cfg.launcher.name != "joblib":
        return _launch_once(plan, pending, attempt, None)
    from lilawbench.launch import machine  # which imports torch

    done = (record.result for run in plan.runs if (record := settled(run)) and record.status == "skipped")
    peaks = (result.get("peak_memory_bytes") for result in done)
    workers = machine.processes(plan.cfg.launcher, [peak for peak in peaks if isinstance(peak, int | float)])
    while pending:
        workers = min(workers, len(pending))
        try:
            return _launch_once(plan, pending, attempt, workers)
        except BrokenExecutor:
            workers = max(1, workers // 2)
            log.warning("a worker process died, perhaps out of memory: going on with %d", workers)
            pending = [run for run in pending if settled(run) is None]
    return [], {}


def _launch_once(
    plan: Plan, pending: Sequence[Planned], attempt: Attempt, workers: int | None
) -> tuple[list[RunRecord], dict[Path, str]]:
    cfg = plan.cfg
    place = Path(cfg.paths.output_dir) / cfg.experiment_name / ".sweep"
    options: Options = to_dict(OmegaConf.to_container(cfg.hydra.launcher, resolve=True))
    launcher = get_class(options.pop("_target_"))(**options)
    if hasattr(launcher, "active"):
        left, planned = ({run.folder.name for run in runs} for runs in (pending, plan.runs))
        held = launcher.active(left, planned)  # by jobs of an earlier command
        pending = [run for run in pending if run.folder.name not in held]
    size = cfg.launcher.get("runs_per_job") or max(1, len(pending))
    if workers is not None:
        workers = min(workers, math.ceil(len(pending) / size))
        size = 1 if workers == 1 else size
        launcher.joblib["n_jobs"] = workers
        log.info("%d process%s", workers, "es" * (workers > 1), extra=SWEEP)
    jobs = [pending[start : start + size] for start in range(0, len(pending), size)]
    world = join()
    task = world.main_does(lambda: Jobs.write(jobs, place, attempt, plan.folders, plan.labels))
    launcher.runs = [[run.folder.name for run in job] for job in jobs]
    launcher.wait, launcher.python = cfg.launcher.get("wait", True), cfg.launcher.get("python")
    shared = [f"paths.output_dir={quoted(cfg.paths.output_dir)}", f"launcher={cfg.launcher.name}"]
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            launcher.setup(hydra_context=launch_context(), task_function=task, config=cfg)
            HydraConfig.instance().set_config(cfg)
            overrides = [[*shared, f"sweep.job={n}"] for n in range(len(jobs))]
            if workers == 1:
                from lilawbench.launch.one_process import one_by_one  # which imports joblib

                return one_by_one(launcher, task, overrides, pending), {}
            returns = launcher.launch(overrides, initial_job_idx=0)
    finally:
        if world.is_main and not getattr(launcher, "submitted", {}):  # jobs that go on read it
            task.remove()
    by_name: dict[str, str] = getattr(launcher, "problems", {})
    problems = {run.folder: by_name[run.folder.name] for run in plan.runs if run.folder.name in by_name}
    submitted: dict[str, str] = getattr(launcher, "submitted", {})
    records = [RunRecord(run.folder, "submitted") for run in plan.runs if run.folder.name in submitted]
    return [*records, *(record for job in returns for record in job.return_value)], problems


def _lost(run: Planned, problem: str) -> RunRecord:
    """The record of a run whose job returned none."""
    if (record := settled(run, retry=None if problem else False)) is not None:
        return RunRecord(run.folder, "done", record.result) if record.status == "skipped" else record
    return _failed(run.folder, problem or "interrupted, or not started")
