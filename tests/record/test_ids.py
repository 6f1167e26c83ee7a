"""labels.npz names rows as the data set does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lilawbench.datasets.base import Source
from lilawbench.pipeline import row_ids
from lilawbench.record.writer import write_labels
from lilawbench.support.errors import DataError

PLAIN = Source(torch.zeros(3, 1), np.arange(3), torch.zeros(2, 1), np.arange(2), ("a", "b", "c"))
NAMED = replace(PLAIN, train_ids=np.array(["x.png", "y.png", "z.png"]), test_ids=np.array([7, 8]))
WITH_VAL = replace(NAMED, val_input=torch.zeros(1, 1), val_clean=np.arange(1))


@pytest.mark.parametrize(
    "source, ids",
    [
        (PLAIN, {}),
        (NAMED, {"ids": ["x.png", "y.png", "z.png"], "test_ids": ["7", "8"]}),
        (WITH_VAL, {"test_ids": ["7", "8"]}),  # of its labelled rows, not all have names
        (
            replace(WITH_VAL, val_ids=np.array(["v"], dtype=object)),
            {"ids": ["x.png", "y.png", "z.png", "v"], "test_ids": ["7", "8"]},
        ),
    ],
)
def test_labelled_rows_and_test_rows(source, ids):
    found = row_ids(source)
    assert {name: array.tolist() for name, array in found.items()} == ids
    assert all(array.dtype.kind == "U" for array in found.values())


def test_other_rows_than_the_run_began_with_are_refused(tmp_path):
    labels = {"observed": np.arange(3)}
    write_labels(tmp_path, **labels)
    write_labels(tmp_path, **labels, **row_ids(NAMED))  # by a version that wrote no names
    (tmp_path / "labels.npz").unlink()
    write_labels(tmp_path, **labels, **row_ids(NAMED))
    with np.load(tmp_path / "labels.npz") as kept:
        assert kept["ids"].tolist() == ["x.png", "y.png", "z.png"]
    with pytest.raises(DataError, match="holds other labels"):
        write_labels(tmp_path, **labels, **row_ids(replace(NAMED, train_ids=np.array(["y", "x", "z"]))))
