"""Messages on the terminal, and the end of a command whose reader has gone."""

import contextlib
import logging
import os
import select
import sys
import threading
from collections.abc import Iterator

log = logging.getLogger("lilawbench")
READER_GONE = 128 + 13  # what a shell says of a process that SIGPIPE has ended
SWEEP = {"sweep": True}  # `extra` of a message about a whole sweep

_state = {"sweep": False, "run": ""}


class ReaderGone(SystemExit):
    """Nobody reads what the command prints."""


class _Console(logging.StreamHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Ends the command if nobody reads what it prints; the main thread does so at its next message."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)
        elif threading.current_thread() is threading.main_thread():
            _end()


def log_to_console() -> None:
    """Messages to stdout; per-epoch lines only where no progress bar shows the epochs."""
    handler = _Console(sys.stdout)
    handler.addFilter(lambda record: not (getattr(record, "per_epoch", False) and sys.stderr.isatty()))
    handler.addFilter(_of_sweep)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


@contextlib.contextmanager
def a_line_each() -> Iterator[None]:
    """Of the runs of a sweep the terminal shows warnings, each once, and else a line each; their logs have the rest."""
    before, _state["sweep"] = _state["sweep"], True
    _warned.clear()
    try:
        yield
    finally:
        _state["sweep"] = before


@contextlib.contextmanager
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
    if not _state["sweep"] or getattr(record, "sweep", False):
        return True
    if record.levelno < logging.WARNING or (said := record.getMessage()) in _warned:
        return False
    _warned.add(said)
    return True


@contextlib.contextmanager
def ending_quietly() -> Iterator[None]:
    """A command that prints: where its reader has gone (`| head`), it ends without a word, with READER_GONE."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        _end()


def _nobody_reads() -> bool:
    watch = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # no file
            watch.register(stream, 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))


def _end() -> None:
    """What is still in the buffer, or printed on the way out, goes nowhere. Raises: ReaderGone."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    raise ReaderGone(READER_GONE)
