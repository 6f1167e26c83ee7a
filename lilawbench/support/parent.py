"""Processes that end with the one that started them, however that dies."""

import os
import threading
import time

LOOK_SECONDS = 1.0
_watched: set[int] = set()


def end_with(parent: int) -> None:
    """Ends this process within a second or two of its parent. A killed parent cannot tell its children.

    A run is safe at any moment: its files are whole or absent, and the kernel frees its lock.

    Args:
        parent: id of the process that started this one; this process's own, or one watched already: nothing is done.
    """
    if parent != os.getpid() and parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=_watch, args=(parent,), daemon=True, name="parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
