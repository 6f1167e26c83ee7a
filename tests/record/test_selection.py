"""Which epoch a run reports: seven hand-made epochs, exact figures."""

import pytest

from lilawbench.record.selection import RULES, best_val, last, last5, oracle_best, select
from lilawbench.tasks import TASKS

VAL = [0.50, 0.75, 0.625, 0.75, 0.5, 0.25, 0.625]  # the highest twice: epochs 2 and 4
TEST = [0.25, 0.50, 0.875, 0.375, 0.875, 0.125, 0.5]  # the highest twice: epochs 3 and 5
FIT = {"train_loss": 9.0}


def epochs(**changes):
    """Rows as metrics.jsonl holds them; `changes` replaces whole columns."""
    columns = {"epoch": range(1, 8), "val_accuracy": VAL, "test_accuracy": TEST, "test_loss": [7, 6, 5, 4, 3, 2, 1]}
    columns |= {"train_loss": [9.0] * 7, "lr": [0.1] * 7, "kind": ["epoch"] * 7} | changes
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_last():
    assert last(epochs()) == {**FIT, "epoch": 7, "val_accuracy": 0.625, "test_accuracy": 0.5, "test_loss": 1}


def test_last5_is_a_mean_without_an_epoch():
    assert last5(epochs()) == {**FIT, "val_accuracy": 2.75 / 5, "test_accuracy": 2.75 / 5, "test_loss": 3.0}


def test_last5_of_fewer_epochs_is_the_mean_of_all():
    assert last5(epochs()[:2]) == {**FIT, "val_accuracy": 0.625, "test_accuracy": 0.375, "test_loss": 6.5}


def test_best_val_takes_the_first_of_a_tie_and_its_test_figures():
    assert best_val(epochs()) == {**FIT, "epoch": 2, "val_accuracy": 0.75, "test_accuracy": 0.5, "test_loss": 6}


def test_oracle_best_takes_the_first_of_a_tie():
    assert oracle_best(epochs()) == {**FIT, "epoch": 3, "val_accuracy": 0.625, "test_accuracy": 0.875, "test_loss": 5}


def test_best_val_does_not_look_at_the_test_set():
    assert best_val(epochs(test_accuracy=TEST[::-1]))["epoch"] == 2
    assert oracle_best(epochs(val_accuracy=VAL[::-1]))["epoch"] == 3


def test_values_take_the_lowest_error_and_labels_the_highest_precision():
    errors = [{key.replace("accuracy", "rmse"): value for key, value in row.items()} for row in epochs()]
    assert [rule(errors, TASKS["regression"])["epoch"] for rule in (best_val, oracle_best)] == [6, 6]
    precision = [{key.replace("accuracy", "mAP"): value for key, value in row.items()} for row in epochs()]
    figures = select(precision, TASKS["multilabel"])
    assert figures["best_val.epoch"] == 2 and figures["oracle_best.test_mAP"] == 0.875


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_an_epoch_that_is_not_finite_is_never_the_best(task):
    rows = [{"epoch": n, "val_accuracy": v, "val_rmse": v} for n, v in enumerate([None, 2.0, None], start=1)]
    assert best_val(rows, TASKS[task])["epoch"] == 2


def test_select_names_every_rule():
    figures = select(epochs())
    assert figures["best_val.epoch"] == 2 and figures["oracle_best.test_accuracy"] == 0.875
    assert figures["last.test_accuracy"] == 0.5 and figures["last5.test_accuracy"] == 0.55
    assert {key.split(".")[0] for key in figures} == set(RULES) == {"last", "last5", "best_val", "oracle_best"}
    assert len(figures) == 4 * 5 - 1  # last5 has no epoch


def test_without_a_validation_set_best_val_is_left_out():
    rows = [{key: value for key, value in row.items() if key != "val_accuracy"} for row in epochs()]
    figures = select(rows)
    assert not any(key.startswith("best_val") for key in figures)
    assert figures["oracle_best.epoch"] == 3 and len(figures) == 3 * 4 - 1


@pytest.mark.parametrize("at, mean", [(6, None), (2, None), (0, 3.0)])
def test_a_loss_that_is_not_finite_has_no_mean(at, mean):
    """None in the last five epochs; the other measures keep theirs."""
    losses = [7, 6, 5, 4, 3, 2, 1]
    losses[at] = None
    figures = select(epochs(test_loss=losses))
    assert figures["last5.test_loss"] == mean
    assert figures["last5.test_accuracy"] == 0.55
    assert figures["last.test_loss"] == losses[-1]
    assert figures["oracle_best.test_loss"] == losses[2]
