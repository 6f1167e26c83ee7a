"""Inside a job that its cluster wants to end: finish the epoch if it fits into the grace time, then hand over.

    with watched(grace_s):      # submitit has set its handlers
        ...                     # pipeline.train calls check(world) after every checkpoint

Two signals ask for it: submitit's own (SIGUSR2, or SUBMITIT_PREEMPT_SIGNAL's), some time before the time limit, and
SIGTERM, which comes with a preemption and with scancel. A job is requeued, by submitit, unless Slurm has ended it: one
that was cancelled stays so, one that Slurm requeues needs no help. What runs is broken off between two epochs, or by
the deadline within one, and goes on from its last checkpoint.
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
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")
HAND_OVER_S = 10  # of the grace time, for the requeue


class Stopped(BaseException):
    """Breaks off what the job does; no error of a run, so that nobody takes it for one."""


class Watch:
    """The wish to stop, and how long an epoch takes: from one checkpoint to the next.

    Args:
        grace_s: from the signal to the end of the job.
    """

    def __init__(self, grace_s: float):
        self.grace_s = max(grace_s / 2, grace_s - HAND_OVER_S)
        self.process = os.getpid()
        self.signal: int | None = None
        self.requeue = True
        self.broken_off = False
        self.last: float | None = None
        self.epoch_s: float | None = None

    def on_signal(self, number: int, frame: FrameType | None = None) -> None:
        if self.signal is not None or os.getpid() != self.process:  # a forked helper gets the signal too
            return
        self.signal, self.requeue = number, number != signal.SIGTERM or _still_runs()
        log.warning("%s: the job is to end", signal.Signals(number).name)
        if not (self.requeue and self._epoch_fits()):
            self.break_off()
        signal.setitimer(signal.ITIMER_REAL, self.grace_s)

    def on_deadline(self, number: int, frame: FrameType | None = None) -> None:
        if os.getpid() == self.process:
            log.warning("the epoch does not fit into the grace time: it will be done again")
            self.break_off()

    def break_off(self) -> None:
        self.broken_off = True
        raise Stopped

    def on_checkpoint(self) -> None:
        now = time.monotonic()
        if self.last is not None:
            self.epoch_s = now - self.last
        self.last = now

    def _epoch_fits(self) -> bool:
        """Whether the running epoch ends in time if it takes as long as the one before; unknown: it may."""
        return self.epoch_s is None or self.last is None or self.last + self.epoch_s <= time.monotonic() + self.grace_s


_watch: Watch | None = None


def check(world: World) -> None:
    """To be called after a checkpoint. Raises: Stopped, in all ranks, if the job is to end."""
    if _watch is None:
        return
    _watch.on_checkpoint()
    if world.agree(_watch.signal is not None):
        raise Stopped


def insist() -> None:
    """To be called after a run that failed. Raises: Stopped, if that is what struck it: torch.save, broken off, makes
    an error of its own of it."""
    if _watch is not None and _watch.broken_off:
        raise Stopped


@contextmanager
def watched(grace_s: float, is_main: bool = True) -> Iterator[None]:
    """Listens to the two signals; what they break off ends in submitit's handler, or in the end of the process.

    Args:
        grace_s: from the signal to the end of the job.
        is_main: the process that decides for all of a run; the others stop when it says so.
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
    before: dict[int, Tree] = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    except Stopped:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not is_main:
            time.sleep(HAND_OVER_S)  # the main process requeues; srun may end all with the first that ends
        if not is_main or not _watch.requeue:
            sys.exit(128 + signal.SIGTERM)
        before[asked](asked, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        _watch = None


def _still_runs() -> bool:
    """Whether the job is, for Slurm, not at its end: a preemption with a grace time, which has to be requeued."""
    return slurm_queue.own_state() == "RUNNING"
