"""The end of a command whose reader has gone, as in `| head`."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator

READER_GONE = 128 + 13  # what a shell says of a process that SIGPIPE has ended


class ReaderGone(SystemExit):
    """Nobody reads what the command prints."""


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
        end()


def _nobody_reads() -> bool:
    watch = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # no file
            watch.register(stream, 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))


def end() -> None:
    """What is still in the buffer, or printed on the way out, goes nowhere. Raises: ReaderGone."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    raise ReaderGone(READER_GONE)
