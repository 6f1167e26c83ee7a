"""What a part is given: the device, its time, and where to say what it has found."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lilawbench.engine.runtime import device_name


class OutOfTime(BaseException):
    """A part's time is up; not an Exception, so that nothing on the way takes it for a failure."""


class Checks:
    """One part's errand.

    Args:
        part: its name. device: to check. tiny: the smallest sizes. deadline: by time.time().
        say: takes a line.
    """

    def __init__(self, part: str, device: str, tiny: bool, deadline: float, say: Callable[[dict], None]):
        self.part, self.device, self.tiny = part, torch.device(device), tiny
        self.deadline, self.say, self.since = deadline, say, time.perf_counter()

    @property
    def on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.time()

    def machine(self) -> dict[str, str]:
        return {"card": device_name(self.device), "torch": torch.__version__}

    def line(
        self,
        what: str,
        value: Any,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        ok: bool | None = None,
        error: str | None = None,
    ) -> None:
        """Says one thing that was found, with the seconds since the one before.

        Args:
            at_most, at_least: the goal. ok: whether it is right, where that is no question of a limit.
        """
        goal = ""
        for limit, sign, met in ((at_most, "<=", _below), (at_least, ">=", _above)):
            if limit is not None:
                goal, ok = f"{sign} {limit:g}", met(value, limit)
        now = time.perf_counter()
        line = {"part": self.part, "what": what, "value": value, "goal": goal, "ok": ok, "seconds": now - self.since}
        self.since = now
        self.say(line | self.machine() | ({"error": error} if error else {}))

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """What fails inside is said, with its traceback, and the part goes on."""
        try:
            yield
        except Exception:
            self.line(what, None, ok=False, error=traceback.format_exc())
            if self.is_lost():
                raise

    def is_lost(self) -> bool:
        """Whether an error has made this process's CUDA device useless, as an illegal access to memory does."""
        if not self.on_cuda:
            return False
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:
            return True
        return False


def _below(value: float, limit: float) -> bool:
    return value <= limit  # not so for NaN


def _above(value: float, limit: float) -> bool:
    return value >= limit
