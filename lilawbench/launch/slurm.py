"""launcher=slurm: the jobs of a sweep as a Slurm array, submitted through submitit and waited for."""

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from omegaconf import OmegaConf

from lilawbench.config import to_dict
from lilawbench.experiment.plan import Plan
from lilawbench.launch import preempt, slurm_queue
from lilawbench.launch.jobs import Jobs, ledger_of
from lilawbench.launch.slurm_queue import ENDED, State
from lilawbench.record.writer import read_json, write_json
from lilawbench.support.console import SWEEP, log_to_console
from lilawbench.support.distributed import leave
from lilawbench.support.errors import UserError
from lilawbench.support.plain import Options

log = logging.getLogger("lilawbench")
LONGEST_PAUSE_S = 30  # between two looks at the queue
COMPLETING_S = 60  # how long a job that is ending may hold its runs
PATIENCE_S = 30  # how long a job may be said to be impossible before it is cancelled
RESULT_S = 15  # how late a shared file system may show the result of a completed job


class SlurmLauncher(submitit_launcher.SlurmLauncher):
    """Submits, waits and collects. Ctrl-C cancels the jobs; if the waiting process dies, they go on without it.

    Other sweeps may have jobs in the same folder. Those that hold none of this sweep's runs are let alone, and Ctrl-C
    also lets those be that hold runs of another besides.

    Attributes:
        runs: names of the runs of each job, in the order of the jobs; to be set before `launch`.
        submitted: run -> id of its job, where nobody waits for it.
        problems: run -> how its job ended, for jobs that ended without a result, including runs that the job had
            finished.
    """

    def __init__(self, **params: object):
        super().__init__(**params)
        self.runs: list[list[str]] = []
        self.wait = True  # False: `launch` ends when the jobs are submitted
        self.python: str | None = None  # the command that runs Python in a job; None: this one
        self.problems: dict[str, str] = {}
        self.submitted: dict[str, str] = {}
        self._jobs: dict[str, list[str]] = {}  # job id -> its runs, of all jobs to wait for
        self._shared: set[str] = set()  # ids of those that do runs of another sweep as well
        self._told: set[bool] = set()  # whether jobs that can never run were told, and those that may wait for long
        self._ledgers: list[Path] = []  # of arrays that have ended when these jobs have

    def active(self, left: set[str], planned: set[str]) -> dict[str, str]:
        """Runs that jobs of an earlier command are doing, each with its job's id; `launch` waits for these jobs too.

        Args:
            left: names of the runs that are to be done: other jobs do not count.
            planned: names of all runs of the sweep.
        Raises:
            UserError: there may be some, but Slurm does not answer.
        """
        deadline = time.monotonic() + COMPLETING_S
        self._jobs, self._shared, self._ledgers = {}, set(), []
        for ledger in sorted(self._folder.glob("*.json")):
            jobs = read_json(ledger)
            mine = {job_id: runs for job_id, runs in jobs.items() if not left.isdisjoint(runs)}
            states = slurm_queue.states(jobs)
            while any(states[job_id].name == "COMPLETING" for job_id in mine) and time.monotonic() < deadline:
                time.sleep(1)
                states = slurm_queue.states(jobs)
            alive = {job_id for job_id, state in states.items() if state.name not in ENDED}
            self._jobs |= {job_id: runs for job_id, runs in mine.items() if job_id in alive}
            self._shared |= {job_id for job_id in alive & mine.keys() if not planned.issuperset(jobs[job_id])}
            if not alive:
                ledger.unlink(missing_ok=True)
            elif alive <= mine.keys():
                self._ledgers.append(ledger)
        return {run: job_id for job_id, runs in self._jobs.items() for run in runs}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Submits these jobs, if any, and waits for them and for those that `active` has found.

        Returns:
            The results of the jobs that completed; `problems` has the others.
        Raises:
            UserError: there is no Slurm here or it refuses the jobs; nothing was submitted.
        """
        if job_overrides:
            self._submit(job_overrides, initial_job_idx)
        if not self.wait:
            self.submitted = {run: job_id for job_id, runs in self._jobs.items() for run in runs}
            return []
        try:
            returns = self._wait()
        except KeyboardInterrupt:
            if own := self._jobs.keys() - self._shared:
                log.info("cancelling Slurm job(s) %s", slurm_queue.arrays(own))
                slurm_queue.cancel(own)
            if shared := slurm_queue.arrays(self._shared):
                log.info("Slurm job(s) %s go on: they do runs of another sweep as well", shared)
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
        cpus = (self.params["cpus_per_task"] or 1) * (self.params["tasks_per_node"] or 1)
        slurm_queue.check_cluster(self.params["partition"], len(job_overrides), cpus, self.params["mem_gb"])
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
        assert isinstance(self.task_function, Jobs)
        self._ledgers.append(ledger_of(self.task_function.path))
        write_json(self._ledgers[-1], mine)
        self._jobs = mine | self._jobs
        log.info("Slurm job %s: %d run(s) in %d job(s)", array, sum(map(len, self.runs)), len(mine),
                 extra=SWEEP)  # fmt: skip

    def _executor(self) -> Any:
        import submitit

        params = dict(self.params)
        folder, requeues = params.pop("submitit_folder"), params.pop("max_num_timeout")
        params["additional_parameters"] = {"requeue": True, **params["additional_parameters"]}
        # srun does not inherit the cores of sbatch since Slurm 22.05
        params["srun_args"] = ["--open-mode=append"]  # a requeued job appends to its log
        params["setup"] = ["export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}", *(params["setup"] or [])]
        common = {field.name for field in fields(BaseQueueConf)}
        executor = submitit.AutoExecutor(
            folder, cluster="slurm", slurm_max_num_timeout=requeues, slurm_python=self.python
        )
        executor.update_parameters(**{key if key in common else f"slurm_{key}": params[key] for key in params})
        return executor

    def script(self, jobs: int) -> str:
        """What sbatch would be given for so many jobs. Raises: UserError, there is no Slurm here."""
        try:
            inner = self._executor()._executor
        except RuntimeError as error:  # submitit looks for srun
            raise UserError("the text for sbatch is known only where Slurm is: there is no srun here") from error
        inner.parameters["map_count"] = jobs
        return inner._make_submission_file_text(inner._submitit_command_str, "")

    def _stuck(self, states: Mapping[str, State], since: dict[str, float]) -> dict[str, str]:
        """Tells at once what jobs wait for that may not come; cancels those that can never run, and says why.

        Args:
            since: when each was first said to be impossible; changed.
        """
        given_up = {}
        for job_id, state in states.items():
            if not state.never:
                since.pop(job_id, None)
            if not (state.never or state.long):
                continue
            has = f"{state.reason}: asked for {self._asked()}"
            if state.never not in self._told:
                self._told.add(state.never)
                nodes = slurm_queue.told(slurm_queue.nodes_of(self.params["partition"]))
                log.warning("Slurm job %s %s (%s); the partition has %s", job_id,
                            "can never run" if state.never else "may wait for long", has, nodes)  # fmt: skip
            if state.never and time.monotonic() - since.setdefault(job_id, time.monotonic()) > PATIENCE_S:
                given_up[job_id] = f"can never run ({has}); it was cancelled"
        if given_up:
            slurm_queue.cancel(given_up)
        return given_up

    def _asked(self) -> str:
        names = ["partition", "nodes", "tasks_per_node", "cpus_per_task", "mem_gb", "gpus_per_node", "gres"]
        names += ["constraint", "account", "qos", "timeout_min"]
        return ", ".join(f"{name} {self.params[name]}" for name in names if self.params.get(name) is not None)

    def _wait(self) -> list[JobReturn]:
        waiting = list(self._jobs)
        stuck_since: dict[str, float] = {}
        returns: dict[str, JobReturn] = {}
        completed: dict[str, float] = {}  # when each was first seen so
        before: dict[str, str] = {}  # state of each at the last look
        start, logged = time.monotonic(), ""
        while waiting:
            try:
                states = slurm_queue.states(waiting)
                summary = slurm_queue.summary(states)
                stuck = self._stuck(states, stuck_since)
            except UserError as error:  # a controller may be down for a while; the jobs go on
                states, stuck, summary = {}, {}, f"{error}; still waiting for {len(waiting)} job(s)"
            if summary != logged:
                log.info("Slurm: %s", summary, extra=SWEEP)
                logged = summary
            for job_id, state in states.items():
                outcome = self._outcome(job_id) or stuck.get(job_id)
                if outcome is None:
                    seen = completed.setdefault(job_id, time.monotonic()) if state.name == "COMPLETED" else -math.inf
                    if state.name not in ENDED or time.monotonic() - seen < RESULT_S:
                        continue
                    outcome = slurm_queue.ended_as(state.name, before.get(job_id))
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
        except Exception:  # still being written, by another machine, or damaged
            return None
        if kind == "success" and outcome.status is JobStatus.COMPLETED:
            return outcome
        text = outcome if kind == "error" else f"{type(outcome._return_value).__name__}: {outcome._return_value}"
        return text.strip().splitlines()[-1]

    def _paths(self, job_id: str) -> Any:
        from submitit.core.utils import JobPaths

        return JobPaths(self.params["submitit_folder"], job_id=job_id)


def sbatch_text(plan: Plan, runs: int) -> str:
    """What sbatch would be given for so many runs of a plan, or why that is not known."""
    options: Options = to_dict(OmegaConf.to_container(plan.cfg.hydra.launcher, resolve=True))
    del options["_target_"]
    launcher = SlurmLauncher(**options)
    launcher.python = plan.cfg.launcher.python
    try:
        return launcher.script(math.ceil(runs / (plan.cfg.launcher.runs_per_job or 1)))
    except UserError as error:
        return str(error)


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
