"""Messages on the terminal."""

import logging
import sys

log = logging.getLogger("lilawbench")


def log_to_console() -> None:
    """Messages to stdout; per-epoch lines only where no progress bar shows the epochs."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lambda record: not (getattr(record, "per_epoch", False) and sys.stderr.isatty()))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
