"""What a part gets: the device, its time, and where to report findings."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class OutOfTime(BaseException):
    """A part's time is up. Not an Exception, so that nothing takes it for a failure."""


class Checks:
    """One part's checks.

    Args:
        part: its name. device: to check. tiny: use the smallest sizes. deadline: by time.time().
        say: called with each finding.
    """

    def __init__(self, part: str, device: str, tiny: bool, deadline: float, say: Callable[[dict], None]):
        self.part, self.named, self.tiny = part, device, tiny
        self.deadline, self.say, self.since = deadline, say, time.perf_counter()

    @cached_property
    def device(self) -> "torch.device":
        import torch

        return torch.device(self.named)

    @property
    def on_cuda(self) -> bool:
        return self.named.startswith("cuda")

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    def machine(self) -> dict[str, str]:
        return {"card": self.card, "torch": version("torch")}

    @cached_property
    def card(self) -> str:
        if not self.on_cuda:
            return self.named
        import torch

        return torch.cuda.get_device_name(self.device)

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
        """Reports a finding, with the seconds since the last one.

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

    def speed(self, what: str, value: float, **goal: float) -> None:
        """As `line`, but without goals at tiny sizes."""
        self.line(what, value, **goal) if not self.tiny else self.line(what, value)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Reports an error inside it, with its traceback, and lets the part go on."""
        try:
            yield
        except Exception:
            self.line(what, None, ok=False, error=traceback.format_exc())
            if self.is_lost():
                raise

    def is_lost(self) -> bool:
        """Whether an error has made CUDA unusable in this process, as an illegal memory access does."""
        if not self.on_cuda:
            return False
        import torch

        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:
            return True
        return False


def _below(value: float, limit: float) -> bool:
    return value <= limit  # False for NaN


def _above(value: float, limit: float) -> bool:
    return value >= limit
