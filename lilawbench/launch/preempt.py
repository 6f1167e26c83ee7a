"""Preemption of a Slurm job: finish the epoch if it fits into the grace time, then requeue.

    with watched(grace_s):      # submitit has set its handlers
        ...                     # pipeline.train calls check(world) after every checkpoint

Two signals announce it: submitit's (SIGUSR2, or what SUBMITIT_PREEMPT_SIGNAL names) some time before the time limit,
and SIGTERM with a preemption or scancel. Submitit requeues the job unless Slurm has ended it: a cancelled job stays
cancelled, and one that Slurm requeues needs no help. The run stops between two epochs, or at the deadline within one,
and resumes from its last checkpoint.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lilawbench.launch import slurm_queue
from lilawbench.support.distributed import World

log = logging.getLogger("lilawbench")
REQUEUE_S = 10  # of the grace time


class Stopped(BaseException):
    """Stops what the job does. Not an Exception, so that nothing takes it for an error of a run."""


class Watch:
    """Whether the job has to stop, and how long an epoch takes: from one checkpoint to the next.

    Args:
        grace_s: from the signal to the end of the job.
    """

    def __init__(self, grace_s: float):
        self.grace_s = max(grace_s / 2, grace_s - REQUEUE_S)
        self.process = os.getpid()
        self.signal: int | None = None
        self.requeue = True
        self.interrupted = False
        self.last: float | None = None
        self.epoch_s: float | None = None

    def on_signal(self, number: int, frame: FrameType | None = None) -> None:
        if self.signal is not None or os.getpid() != self.process:  # forked workers get the signal too
            return
        self.signal, self.requeue = number, number != signal.SIGTERM or _still_runs()
        log.warning("%s: the job has to end", signal.Signals(number).name)
        if not (self.requeue and self._epoch_fits()):
            self.interrupt()
        signal.setitimer(signal.ITIMER_REAL, self.grace_s)

    def on_deadline(self, number: int, frame: FrameType | None = None) -> None:
        if os.getpid() == self.process:
            log.warning("the epoch does not fit into the grace time: it will be repeated")
            self.interrupt()

    def interrupt(self) -> None:
        self.interrupted = True
        raise Stopped

    def on_checkpoint(self) -> None:
        now = time.monotonic()
        if self.last is not None:
            self.epoch_s = now - self.last
        self.last = now

    def _epoch_fits(self) -> bool:
        """Whether the current epoch ends in time if it takes as long as the last one; True if that is unknown."""
        if self.epoch_s is None or self.last is None:
            return True
        return self.last + self.epoch_s <= time.monotonic() + self.grace_s


_watch: Watch | None = None


def check(world: World) -> None:
    """To be called after a checkpoint. Raises: Stopped, on all ranks, if the job has to end."""
    if _watch is None:
        return
    _watch.on_checkpoint()
    if world.agree(_watch.signal is not None):
        raise Stopped


def reraise() -> None:
    """To be called after a failed run. Raises: Stopped, if that is why it failed: torch.save turns it into an error of
    its own."""
    if _watch is not None and _watch.interrupted:
        raise Stopped


@contextmanager
def watched(grace_s: float, is_main: bool = True) -> Iterator[None]:
    """Handles the two signals. Afterwards submitit's handler requeues the job, or the process ends.

    Args:
        grace_s: from the signal to the end of the job.
        is_main: whether this is the process that decides for all ranks of a run.
    """
    from submitit.core.job_environment import JobEnvironment

    global _watch
    _watch = Watch(grace_s)
    asked = JobEnvironment._usr_sig()
    handlers = {
        asked: _watch.on_signal if is_main else signal.SIG_IGN,
        signal.SIGTERM: _watch.on_signal if is_main else signal.SIG_IGN,
        signal.SIGALRM: _watch.on_deadline,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    except Stopped:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not is_main:
            time.sleep(REQUEUE_S)  # the main process requeues first: srun may end all with the first that ends
        if not is_main or not _watch.requeue:
            sys.exit(128 + signal.SIGTERM)
        requeue = before[asked]
        assert callable(requeue)  # submitit's handler
        requeue(asked, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        _watch = None


def _still_runs() -> bool:
    """Whether Slurm counts the job as running: a preemption with a grace time, after which it has to be requeued."""
    return slurm_queue.own_state() == "RUNNING"
