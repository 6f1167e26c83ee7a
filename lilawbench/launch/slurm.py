"""launcher=slurm: the jobs of a sweep as a Slurm array, submitted through submitit and waited for."""

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

from lilawbench.launch import preempt, slurm_queue
from lilawbench.launch.slurm_queue import ENDED, State
from lilawbench.record.writer import read_json, write_json
from lilawbench.support.console import log_to_console
from lilawbench.support.distributed import leave
from lilawbench.support.errors import UserError

log = logging.getLogger("lilawbench")
LONGEST_PAUSE_S = 30  # between two looks at the queue
COMPLETING_S = 60  # how long a job that is ending may hold its runs
RESULT_S = 15  # how late a shared file system may show the result of a completed job


class SlurmLauncher(submitit_launcher.SlurmLauncher):
    """Submits, waits and collects. Ctrl-C cancels the jobs; if the waiting process dies, they go on without it.

    Attributes:
        runs: names of the runs of each job, in the order of the jobs; to be set before `launch`.
        problems: run -> how its job ended, for jobs that ended without a result, including runs that the job had
            finished.
    """

    def __init__(self, **params: object):
        super().__init__(**params)
        self.runs: list[list[str]] = []
        self.problems: dict[str, str] = {}
        self._jobs: dict[str, list[str]] = {}  # job id -> its runs, of all jobs to wait for
        self._ledgers: list[Path] = []  # the same on disk, one file an array

    def active(self) -> dict[str, str]:
        """Runs that jobs of an earlier command are doing, each with its job's id; `launch` waits for these jobs too.

        Raises:
            UserError: there may be some, but Slurm does not answer.
        """
        deadline = time.monotonic() + COMPLETING_S
        self._jobs, self._ledgers = {}, []
        for ledger in sorted(self._folder.glob("*.json")):
            jobs = read_json(ledger)
            states = slurm_queue.states(jobs)
            while any(state.name == "COMPLETING" for state in states.values()) and time.monotonic() < deadline:
                time.sleep(1)
                states = slurm_queue.states(jobs)
            if alive := {job_id: runs for job_id, runs in jobs.items() if states[job_id].name not in ENDED}:
                self._jobs |= alive
                self._ledgers.append(ledger)
            else:
                ledger.unlink(missing_ok=True)
        return {run: job_id for job_id, runs in self._jobs.items() for run in runs}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Submits these jobs, if any, and waits for them and for those that `active` has found.

        Returns:
            The results of the jobs that completed; `problems` has the others.
        Raises:
            UserError: there is no Slurm here or it refuses the jobs; nothing was submitted.
        """
        self.active()
        if job_overrides:
            self._submit(job_overrides, initial_job_idx)
        try:
            returns = self._wait()
        except KeyboardInterrupt:
            log.info("cancelling Slurm job(s) %s", ", ".join(dict.fromkeys(job.split("_")[0] for job in self._jobs)))
            slurm_queue.cancel(self._jobs)
            raise
        for ledger in self._ledgers:
            ledger.unlink(missing_ok=True)
        return returns

    def __call__(self, *job: object) -> JobReturn:
        """Runs in every task of a job, with the arguments from `_submit`."""
        import submitit

        log_to_console()
        environment = submitit.JobEnvironment()
        if environment.num_tasks > 1:  # of one run, as under torchrun: each sees all GPUs of its node
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        with preempt.watched(self.params["signal_delay_s"], environment.global_rank == 0):
            result = super().__call__(*job)
        leave()
        return result

    @property
    def _folder(self) -> Path:
        return Path(self.params["submitit_folder"]).parent

    def _submit(self, job_overrides: Sequence[Sequence[str]], first: int) -> None:
        import submitit

        grace_s, time_min = self.params["signal_delay_s"], self.params["timeout_min"]
        if grace_s > time_min * 30:  # Slurm may signal up to a minute early, when a job has only begun
            raise UserError(f"launcher.grace_s={grace_s} s may be at most half of launcher.time_min={time_min} min")
        slurm_queue.check_cluster(self.params["partition"], len(job_overrides))
        singletons = Singleton.get_state()
        jobs = [
            (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", singletons)
            for number, overrides in enumerate(job_overrides, first)
        ]
        files = set(self._folder.glob("*"))
        try:
            with without_job_variables():
                submitted = self._executor().map_array(self, *zip(*jobs, strict=True))
        except submitit.core.utils.FailedJobError as error:
            for path in set(self._folder.glob("*")) - files:  # scripts that were to be submitted
                path.unlink()
            raise UserError(f"Slurm refuses the jobs: {slurm_queue.words(str(error))}") from error
        mine = {job.job_id: runs for job, runs in zip(submitted, self.runs, strict=True)}
        array = submitted[0].job_id.split("_")[0]
        self._ledgers.append(self._folder / f"{array}.json")
        write_json(self._ledgers[-1], mine)
        self._jobs = mine | self._jobs
        log.info("Slurm job %s: %d run(s) in %d job(s)", array, sum(map(len, self.runs)), len(mine))

    def _executor(self) -> Any:
        import submitit

        params = dict(self.params)
        folder, requeues = params.pop("submitit_folder"), params.pop("max_num_timeout")
        params["additional_parameters"] = {"requeue": True, **params["additional_parameters"]}
        # srun does not inherit the cores of sbatch since Slurm 22.05
        params["srun_args"] = ["--open-mode=append"]  # a requeued job appends to its log
        params["setup"] = ["export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}", *(params["setup"] or [])]
        common = {field.name for field in fields(BaseQueueConf)}
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=requeues)
        executor.update_parameters(**{key if key in common else f"slurm_{key}": params[key] for key in params})
        return executor

    def _wait(self) -> list[JobReturn]:
        waiting = list(self._jobs)
        returns: dict[str, JobReturn] = {}
        completed: dict[str, float] = {}  # when each was first seen so
        before: dict[str, str] = {}  # state of each at the last look
        start, logged = time.monotonic(), ""
        while waiting:
            try:
                states = slurm_queue.states(waiting)
                summary = _summary(states)
            except UserError as error:  # a controller may be down for a while; the jobs go on
                states, summary = {}, f"{error}; still waiting for {len(waiting)} job(s)"
            if summary != logged:
                log.info("Slurm: %s", summary)
                logged = summary
            for job_id, state in states.items():
                outcome = self._outcome(job_id)
                if outcome is None:
                    seen = completed.setdefault(job_id, time.monotonic()) if state.name == "COMPLETED" else -math.inf
                    if state.name not in ENDED or time.monotonic() - seen < RESULT_S:
                        continue
                    outcome = _ended_as(state.name, before.get(job_id))
                waiting.remove(job_id)
                if isinstance(outcome, JobReturn):
                    returns[job_id] = outcome
                else:
                    error_log = self._paths(job_id).stderr
                    where = f"; its log: {error_log}" if error_log.exists() else ""
                    problem = f"Slurm job {job_id}: {outcome}{where}"
                    self.problems |= dict.fromkeys(self._jobs[job_id], problem)
            before |= {job_id: state.name for job_id, state in states.items()}
            if waiting:
                time.sleep(min(LONGEST_PAUSE_S, max(1.0, (time.monotonic() - start) / 20)))
        return [returns[job_id] for job_id in self._jobs if job_id in returns]

    def _outcome(self, job_id: str) -> JobReturn | str | None:
        """The job's result, or the last line of its error; None if there is nothing yet."""
        from submitit.core.utils import pickle_load

        path = self._paths(job_id).result_pickle
        if not path.exists():
            return None
        try:
            kind, outcome = pickle_load(path)
        except (EOFError, OSError):  # still being written, by another machine
            return None
        if kind == "success" and outcome.status is JobStatus.COMPLETED:
            return outcome
        text = outcome if kind == "error" else f"{type(outcome._return_value).__name__}: {outcome._return_value}"
        return text.strip().splitlines()[-1]

    def _paths(self, job_id: str) -> Any:
        from submitit.core.utils import JobPaths

        return JobPaths(self.params["submitit_folder"], job_id=job_id)


def _ended_as(name: str, before: str | None) -> str:
    """How a job ended. A pending job of a cancelled array vanishes from squeue; others stay there for a while."""
    if name != slurm_queue.GONE:
        return name
    return "CANCELLED before it started" if before == "PENDING" else "gone from the queue without a result"


def _summary(states: dict[str, State]) -> str:
    """ "3 running, 9 pending (Resources)" of the jobs that have not ended."""
    alive = [state for state in states.values() if state.name not in ENDED]
    counts = Counter(
        f"{state.name.lower()} ({state.reason})" if state.name == "PENDING" else state.name.lower() for state in alive
    )
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "all jobs have ended"


@contextmanager
def without_job_variables() -> Iterator[None]:
    """Hides the variables of the job that this process is in, if any, from the jobs that it submits."""
    from submitit.helpers import clean_env, environment_variables

    kept = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with ExitStack() as stack:
        if "SLURM_JOB_ID" in os.environ:
            stack.enter_context(clean_env())
            stack.enter_context(environment_variables(**kept))
        yield
