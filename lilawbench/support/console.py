"""Messages on the terminal."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lilawbench.support.reader import end

log = logging.getLogger("lilawbench")
# `extra` of a message about a whole sweep, of an error that the sweep's own line tells, and of what is for files alone
SWEEP, OF_RUN, FOR_FILES = {"sweep": True}, {"sweep": False}, {"for_files": True}

_state = {"sweep": False, "run": ""}


class _Console(logging.StreamHandler):
    """Ends the command if nobody reads what it prints. Only the main thread can, at its next message, shown or not."""

    gone = False

    def handle(self, record: logging.LogRecord) -> bool:
        if self.gone and threading.current_thread() is threading.main_thread():
            self.gone = False  # what is said on the way out goes nowhere
            end()
        return super().handle(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)
        elif threading.current_thread() is threading.main_thread():
            end()
        else:
            self.gone = True


def log_to_console() -> None:
    """Messages to stdout; per-epoch lines only where no progress bar shows the epochs."""
    handler = _Console(sys.stdout)
    handler.addFilter(lambda record: not (getattr(record, "per_epoch", False) and sys.stderr.isatty()))
    handler.addFilter(lambda record: not getattr(record, "for_files", False))
    handler.addFilter(_of_sweep)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


@contextmanager
def a_line_each() -> Iterator[None]:
    """Of the runs of a sweep the terminal shows warnings, each once, and else a line each; their logs have the rest."""
    before, _state["sweep"] = _state["sweep"], True
    _warned.clear()
    try:
        yield
    finally:
        _state["sweep"] = before


@contextmanager
def doing(run: str) -> Iterator[None]:
    """Names the run that this process is doing, for its progress bar."""
    before, _state["run"] = _state["run"], run
    try:
        yield
    finally:
        _state["run"] = before


def current(otherwise: str) -> str:
    """The name of the run that this process is doing, if it is one of several."""
    return str(_state["run"] or otherwise)


_warned: set[str] = set()


def _of_sweep(record: logging.LogRecord) -> bool:
    of_sweep = getattr(record, "sweep", None)
    if not _state["sweep"] or of_sweep is not None:
        return not _state["sweep"] or bool(of_sweep)
    if record.levelno < logging.WARNING or (said := record.getMessage()) in _warned:
        return False
    _warned.add(said)
    return True
