"""Ctrl-C that is never lost.

Python drops an exception that is raised inside a destructor or a callback of a weak reference, and of several
processes one may fail because another has left already. So it is also remembered that Ctrl-C came.
"""

import signal
import threading
from types import FrameType

_came = False


def listen() -> None:
    """Remembers Ctrl-C from now on, which raises KeyboardInterrupt as before. A process that is deaf to it stays so."""
    global _came
    _came = False
    in_main_thread = threading.current_thread() is threading.main_thread()  # only that one may set a handler
    if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def _remember(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    signal.default_int_handler(number, frame)


def check() -> None:
    """Raises KeyboardInterrupt if Ctrl-C has come, even if what it raised then was lost."""
    if _came:
        raise KeyboardInterrupt
