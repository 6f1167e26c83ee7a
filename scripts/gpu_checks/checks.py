"""What a part is given: the device, its time, and where to say what it has found."""

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
    """A part's time is up; not an Exception, so that nothing on the way takes it for a failure."""


class Checks:
    """One part's errand.

    Args:
        part: its name. device: to check. tiny: the smallest sizes. deadline: by time.time().
        say: takes a line.
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
        """Seconds."""
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

    def speed(self, what: str, value: float, **goal: float) -> None:
        """As `line`; tiny, no goal is missed or met."""
        self.line(what, value, **goal) if not self.tiny else self.line(what, value)

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
        import torch

        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:
            return True
        return False


def _below(value: float, limit: float) -> bool:
    return value <= limit  # not so for NaN


def _above(value: float, limit: float) -> bool:
    return value >= limit
