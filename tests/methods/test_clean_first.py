"""Clean first: which rows leave, by which filter, and runs that end as plain ones without these rows would."""

import csv

import pytest
import torch
from torch import nn

from lilawbench.loading.resident import Resident
from lilawbench.methods.clean_first import CleanFirst
from lilawbench.train import run

PROBS = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.9, 0.1]])
GIVEN = torch.tensor([0, 0, 0, 1, 1, 1])


def test_rows_that_are_found_are_not_trained_on(context):
    """The third and the last label are wrong (tests/metrics/test_confident.py); the folds' own networks see all."""
    method = CleanFirst()
    ctx = context(nn.Linear(1, 2), rows=Resident(torch.zeros(6, 1), GIVEN), num_classes=2, batch_size=3)
    method.setup(ctx)
    ctx.epoch = 1
    assert sorted(row for batch in method.batches(ctx) for row in batch.index.tolist()) == list(range(6))
    method.take_out_of_sample(ctx, PROBS)
    assert method.sample_values()["dropped"].tolist() == [False, False, True, False, False, True]
    assert sorted(row for batch in method.batches(ctx) for row in batch.index.tolist()) == [0, 1, 3, 4]
    assert not method.state_dict()


@pytest.mark.parametrize(
    "option, said",
    [
        ({"folds": 1}, "folds is 1; it must be a whole number >= 2"),
        ({"filter_by": "both"}, "filter_by is 'both'; it must be one of"),
    ],
)
def test_values_out_of_range(option, said):
    with pytest.raises(ValueError, match=said):
        CleanFirst(**option)


@pytest.mark.slow
def test_the_rows_are_those_of_the_folds_that_the_run_itself_trained(tiny):
    """Also where detect.folds asks for the same networks, whose list then has the same rows."""
    options = ["method=clean_first", "method.folds=2", "train.epochs=2", "split.train_samples=120", "noise.rate=0.3"]
    record = run(tiny(*options, "probe=suspects"))
    assert {file.name for file in (record.folder / "folds").iterdir()} == {"fold0.npz", "fold1.npz"}
    both = run(tiny(*options, "detect.folds=2", "experiment_name=both"))
    assert both.result["last.test_loss"] == record.result["last.test_loss"]
    with (record.folder / "suspects.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    dropped = [row["method_dropped"] == "1" for row in listed]
    assert 0 < sum(dropped) < len(listed) and all(dropped[: sum(dropped)])
    first = [row for row in listed if row["method_dropped"] == "1"]
    assert all(float(row["suggested_prob"]) > 0 and row["suggested"] != row["given"] for row in first)
