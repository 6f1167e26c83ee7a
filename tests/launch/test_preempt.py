"""A signal ends a job between two epochs if the running one fits into the grace time, else at once; then submitit's
handler has its turn, unless Slurm has ended the job itself."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from lilawbench.launch import preempt
from lilawbench.launch.preempt import Stopped, Watch, check, reraise, watched
from lilawbench.support.distributed import World

PREEMPT = signal.SIGUSR2  # submitit's


@pytest.fixture
def clock(monkeypatch):
    """A clock to be set by hand, and no real timer."""
    now = [100.0]
    monkeypatch.setattr(preempt.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(preempt.signal, "setitimer", lambda *arguments: None)
    return now


@pytest.fixture
def handed_over():
    """Signals with which submitit's handler was called."""
    calls = []
    before = signal.signal(PREEMPT, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(PREEMPT, before)


@pytest.mark.parametrize("grace_s, kept", [(120, 110), (30, 20), (12, 6)])
def test_part_of_the_grace_time_is_kept_for_the_requeue(grace_s, kept):
    assert Watch(grace_s).grace_s == kept


@pytest.mark.parametrize("epoch_s, fits", [(29.0, True), (31.0, False)])
def test_an_epoch_is_finished_if_it_fits(clock, epoch_s, fits):
    """The last epoch ended 10 s ago and 20 s are left: one of 29 s would end in time, one of 31 s would not."""
    watch = Watch(30)
    for now in (100.0, 100.0 + epoch_s):
        clock[0] = now
        watch.on_checkpoint()
    clock[0] += 10
    if fits:
        watch.on_signal(PREEMPT)
    else:
        with pytest.raises(Stopped):
            watch.on_signal(PREEMPT)


def test_the_first_epoch_has_the_whole_grace_time(clock):
    watch = Watch(30)
    watch.on_signal(PREEMPT)
    assert watch.requeue and not watch.interrupted


@pytest.mark.parametrize("state, requeue", [("RUNNING", True), ("COMPLETING", False), ("", False)])
def test_sigterm_stops_at_once_what_slurm_has_ended(clock, monkeypatch, state, requeue):
    """RUNNING: preempted with a grace time. COMPLETING: cancelled, or requeued by Slurm. "": it cannot be asked."""
    monkeypatch.setattr(preempt.slurm_queue, "own_state", lambda: state)
    watch = Watch(30)
    if requeue:
        watch.on_signal(signal.SIGTERM)
    else:
        with pytest.raises(Stopped):
            watch.on_signal(signal.SIGTERM)
    assert watch.requeue == requeue


def test_a_second_signal_changes_nothing(clock, monkeypatch):
    watch = Watch(30)
    watch.on_signal(PREEMPT)
    monkeypatch.setattr(preempt.slurm_queue, "own_state", lambda: "COMPLETING")
    watch.on_signal(signal.SIGTERM)
    assert watch.requeue


def test_nothing_is_checked_outside_a_job(monkeypatch):
    monkeypatch.setattr(World, "agree", lambda *asked: pytest.fail("ranks need not agree on anything"))
    check(World())
    assert preempt._watch is None


def test_the_checkpoint_after_the_signal_ends_the_job(handed_over):
    epochs = 0
    with watched(30):
        for _ in range(5):
            epochs += 1
            if epochs == 3:
                os.kill(os.getpid(), PREEMPT)
            check(World())
    assert epochs == 3 and handed_over == [PREEMPT]
    check(World())  # and the watch is over


def test_the_deadline_ends_an_epoch(handed_over):
    start = time.monotonic()
    with watched(0.4):
        os.kill(os.getpid(), PREEMPT)
        time.sleep(30)
    assert 0.2 <= time.monotonic() - start < 5 and handed_over == [PREEMPT]


def test_a_stop_that_became_an_error_of_torch_save_is_a_stop(handed_over):
    after = []
    with watched(0.2):
        reraise()  # nothing has happened yet
        try:
            os.kill(os.getpid(), PREEMPT)
            time.sleep(30)
        except Stopped:  # as the zip writer does when it is left half-way
            with contextlib.suppress(RuntimeError):
                raise RuntimeError("unexpected pos 272000 vs 271952") from None
        reraise()
        after.append("the next run")
    assert not after and handed_over == [PREEMPT]


def test_a_cancelled_job_is_not_requeued(handed_over, monkeypatch):
    monkeypatch.setattr(preempt.slurm_queue, "own_state", lambda: "COMPLETING")
    with pytest.raises(SystemExit) as ended, watched(30):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    assert ended.value.code == 128 + 15 and not handed_over


def test_no_error_handler_of_a_run_swallows_the_stop():
    assert not issubclass(Stopped, Exception)


def test_another_rank_waits_for_the_main_one(handed_over, monkeypatch):
    monkeypatch.setattr(preempt, "REQUEUE_S", 0)
    with pytest.raises(SystemExit), watched(30, is_main=False):
        os.kill(os.getpid(), PREEMPT)
        check(World())  # not told by the main process yet
        monkeypatch.setattr(World, "agree", lambda self, value: True)
        check(World())
    assert not handed_over


@pytest.mark.slow  # a process of its own
def test_submitits_variable_chooses_the_signal():
    script = (
        "import os, signal; from lilawbench.launch.preempt import watched\n"
        "signal.signal(signal.SIGUSR1, lambda number, frame: print('handed over', number))\n"
        "with watched(0.2): os.kill(os.getpid(), signal.SIGUSR1); signal.pause()"
    )
    environment = {**os.environ, "SUBMITIT_PREEMPT_SIGNAL": "USR1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"handed over {int(signal.SIGUSR1)}", done.stderr
