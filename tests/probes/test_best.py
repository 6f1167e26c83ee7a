"""Whether an epoch is the best one yet: as the record chooses best_val at the end."""

import math

import pytest

from lilawbench.probes.best import BestSoFar
from lilawbench.record.selection import best
from lilawbench.tasks import TASKS

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "task, values, expected",
    [
        ("multiclass", [0.2, 0.5, 0.5, 0.4, 0.6], [True, True, False, False, True]),  # of equal ones the first
        ("multiclass", [NAN, 0.1, NAN, 0.2], [True, True, False, True]),
        ("regression", [3.0, 4.0, 2.0, 2.0, 1.0], [True, False, True, False, True]),  # rmse is to be small
        ("regression", [INF, 4.0, INF, NAN, 3.0], [True, True, False, False, True]),
    ],
)
def test_by_hand(predicted, task, values, expected):
    so_far, task = BestSoFar(), TASKS[task]
    assert [so_far.see(task, predicted(**{task.measure: value})) for value in values] == expected


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_the_last_best_epoch_is_the_one_that_the_record_selects(predicted, name):
    task, so_far, kept = TASKS[name], BestSoFar(), None
    values = [0.3, 0.7, 0.1, 0.7, 0.1, 0.5]
    rows = [{"epoch": number, f"val_{task.measure}": value} for number, value in enumerate(values)]
    for row in rows:
        if so_far.see(task, predicted(**{task.measure: row[f"val_{task.measure}"]})):
            kept = row
    assert kept is best(rows, f"val_{task.measure}", task.maximise)


def test_without_validation_rows_no_epoch_is(predicted):
    so_far = BestSoFar()
    assert not so_far.see(TASKS["multiclass"], predicted()) and so_far.rank is None
