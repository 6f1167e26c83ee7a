"""Ctrl-C counts even where Python drops the exception."""

import os
import signal

import pytest

from lilawbench import train
from lilawbench.config import compose
from lilawbench.engine import loop
from lilawbench.support import interrupt

# Python says of a lost exception that it is lost
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def listening():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.listen()
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.listen()
    signal.signal(signal.SIGINT, before)


class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


def lost_interrupt() -> None:
    Dying()


def test_an_interrupt_raises_at_once_and_is_remembered():
    interrupt.check()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()


def test_a_lost_interrupt_stops_training_before_its_next_epoch(monkeypatch, tmp_path):
    epochs = []

    def during(*given):
        epochs.append(given)
        lost_interrupt()
        return whole(*given)

    whole = loop._train_epoch
    monkeypatch.setattr(loop, "_train_epoch", during)
    with pytest.raises(KeyboardInterrupt):
        train.attempt(compose("debug=fast", "train.epochs=3", "train.threads=1", f"paths.output_dir={tmp_path}"))
    assert len(epochs) == 1


def test_an_error_after_an_interrupt_is_the_interrupt(monkeypatch, tmp_path):
    """One of several processes fails as soon as another has left."""

    def run(cfg):
        lost_interrupt()
        raise RuntimeError("connection closed by peer")

    monkeypatch.setattr(train, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        train.attempt(compose(f"paths.output_dir={tmp_path}"))


def test_a_process_that_is_deaf_to_interrupts_stays_deaf():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt.listen()
    os.kill(os.getpid(), signal.SIGINT)
    interrupt.check()
