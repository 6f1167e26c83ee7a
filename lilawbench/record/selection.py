"""Which epoch a run is judged by. Every rule has a name, and the one that looks at the test set says oracle."""

import math
from collections.abc import Callable, Mapping, Sequence

from lilawbench.support.plain import Tree
from lilawbench.tasks import TASKS, Task

Row = dict[str, float | None]  # None: not finite


def last(epochs: Sequence[Row], task: Task = TASKS["multiclass"]) -> Row:
    """The last epoch."""
    return _figures(epochs[-1])


def last5(epochs: Sequence[Row], task: Task = TASKS["multiclass"]) -> Row:
    """The mean of the last five epochs (of all, if fewer); None for a measure that one of them lacks."""
    tail = [_figures(row) for row in epochs[-5:]]
    columns = {key: [row.get(key) for row in tail] for key in tail[-1] if key != "epoch"}
    return {key: _mean(values) for key, values in columns.items()}


def best_val(epochs: Sequence[Row], task: Task = TASKS["multiclass"]) -> Row:
    """The first epoch of the best validation accuracy (mAP, RMSE), on validation labels as the method sees them."""
    return _figures(best(epochs, f"val_{task.measure}", task.maximise))


def oracle_best(epochs: Sequence[Row], task: Task = TASKS["multiclass"]) -> Row:
    """The first epoch of the best test accuracy (mAP, RMSE): a bound that no fair selection reaches."""
    return _figures(best(epochs, f"test_{task.measure}", task.maximise))


RULES: dict[str, Callable[[Sequence[Row], Task], Row]] = {
    "last": last,
    "last5": last5,
    "best_val": best_val,
    "oracle_best": oracle_best,
}


def select(epochs: Sequence[Row], task: Task = TASKS["multiclass"]) -> Row:
    """The measures under every rule, flat ("best_val.test_accuracy" ...). A rule without its measure is left out."""
    chosen: Row = {}
    for name, rule in RULES.items():
        if name == "best_val" and f"val_{task.measure}" not in epochs[-1]:
            continue
        chosen.update({f"{name}.{key}": value for key, value in rule(epochs, task).items()})
    return chosen


def reached(result: Mapping[str, Tree]) -> str:
    """ "test accuracy 91.20% (best_val), 85.31% (last)" of a finished run."""
    task = TASKS.get(result.get("task", "multiclass"), TASKS["multiclass"])
    key = f"test_{task.measure}"
    values = {rule: result.get(f"{rule}.{key}") for rule in ("best_val", "last")}
    shown = [f"{as_shown(key, value)} ({rule})" for rule, value in values.items() if isinstance(value, int | float)]
    return f"test {task.measure} {', '.join(shown)}" if shown else "done"


def as_shown(name: str, value: float) -> str:
    """Shares in percent, other measures with four digits."""
    return f"{100 * value:.2f}%" if name.endswith(("accuracy", "memorised")) else f"{value:.4f}"


def best(epochs: Sequence[Row], key: str, maximise: bool = True) -> Row:
    """The first row whose value is the highest (or the lowest); one that is not finite is the worst."""

    def rank(row: Row) -> float:
        value = row[key]
        return -math.inf if value is None else value if maximise else -value

    return max(epochs, key=rank)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _figures(row: Row) -> Row:
    """The epoch and its measures on training, validation and test rows."""
    return {key: value for key, value in row.items() if key == "epoch" or key.startswith(("train_", "val_", "test_"))}
