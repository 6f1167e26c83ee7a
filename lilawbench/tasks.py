"""Kinds of targets, each with its plain loss and the measure that runs are judged by.

multiclass   target [B] int64 in 0..K-1     logits [B, K]   one class a sample
binary       the same with K = 2            logits [B, 2]   class 1 is the positive one
multilabel   target [B, K] int64, 0 or 1    logits [B, K]   any number of labels a sample
regression   target [B] float               logits [B, 1]   the prediction itself
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Part = TypeVar("Part", bound=Callable)


@dataclass(frozen=True)
class Task:
    """A kind of target. `measure` picks the epoch of best_val and leads tables; `loss` trains the plain baseline."""

    name: str
    loss: str
    measure: str
    maximise: bool = True


TASKS = {
    task.name: task
    for task in (
        Task("multiclass", "ce", "accuracy"),
        Task("binary", "ce", "accuracy"),
        Task("multilabel", "bce", "mAP"),
        Task("regression", "squared", "rmse", maximise=False),
    )
}
ALL = tuple(TASKS)
CLASSES = ("multiclass", "binary")
PLAIN_LOSSES = tuple(dict.fromkeys(task.loss for task in TASKS.values()))


def task_of(target: np.ndarray, num_outputs: int) -> str:
    """The task's name, from labels as `Source` keeps them and the number of outputs."""
    if target.ndim == 2:
        return "multilabel"
    if np.issubdtype(target.dtype, np.floating):
        return "regression"
    return "binary" if num_outputs == 2 else "multiclass"


def fits(*tasks: str) -> Callable[[Part], Part]:
    """Marks a loss, noise or method with the tasks it is for; without the mark it is for one class a sample."""

    def mark(part: Part) -> Part:
        part.tasks = tasks  # type: ignore[attr-defined]  # read by `tasks_of` alone
        return part

    return mark


def tasks_of(part: Callable) -> tuple[str, ...]:
    """The tasks that a loss, noise or method is for."""
    return getattr(part, "tasks", CLASSES)


def example(task: str, num_outputs: int) -> np.ndarray:
    """Labels to try a noise or a loss on, one sample per class or label."""
    if task == "multilabel":
        return np.eye(num_outputs, dtype=np.int64)
    return np.linspace(0, 1, 8) if task == "regression" else np.arange(num_outputs)
