"""Times candidates that run in turn."""

import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch

Name = TypeVar("Name", bound=Hashable)


def interleaved(
    candidates: dict[Name, Callable[[], object]], rounds: int, repeats: int, device: torch.device
) -> dict[Name, list[float]]:
    """Seconds per call of each candidate in each round, after a warm-up; the order rotates between rounds."""
    times: dict[Name, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds = timed(lambda n=name: [candidates[n]() for _ in range(repeats)], device)
            if number:
                times[name].append(seconds / repeats)
    return times


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """Median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(times, base, strict=True))


def milliseconds(times: Sequence[float]) -> float:
    """Median."""
    return statistics.median(times) * 1e3


def timed(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Wall seconds, with the device synchronised before and after."""
    wait = torch.cuda.synchronize if device is not None and device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start
