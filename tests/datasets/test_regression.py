"""Regression tables: the real files, and tiny ones in their layout."""

import numpy as np
import pytest
import torch

from lilawbench.datasets import regression
from lilawbench.datasets.regression import Concrete, Energy, Yacht
from lilawbench.loading.split import stratified
from lilawbench.support.errors import DataError


@pytest.fixture
def write_yacht(tmp_path, monkeypatch, md5):
    """write_yacht(text): makes it the official file below tmp_path."""

    def write(text: str):
        path = tmp_path / "regression" / "yacht.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        monkeypatch.setattr(regression.Yacht, "md5", md5(path))

    return write


def rows(count: int, columns: int = 7) -> str:
    return "".join(" ".join(str(i * (j + 1) % 11) for j in range(columns)) + " \n" for i in range(count))


def test_columns_split_and_scale(tmp_path, write_yacht):
    write_yacht(rows(50) + "\n")
    source = Yacht().load(tmp_path)
    assert (source.task, source.num_classes, source.input_shape) == ("regression", 1, (6,))
    assert (len(source.train_clean), len(source.test_clean)) == (40, 10)
    values = np.concatenate([source.train_clean, source.test_clean])
    assert sorted(values) == sorted(float(i * 7 % 11) for i in range(50)) and values.dtype == np.float32
    assert source.target_range == source.train_clean.max() - source.train_clean.min()
    torch.testing.assert_close(source.train_input.mean(0), torch.zeros(6), rtol=0, atol=1e-6)
    torch.testing.assert_close(source.train_input.std(0, correction=0), torch.ones(6), rtol=0, atol=1e-6)


def test_test_rows_do_not_shape_the_training_inputs(tmp_path, write_yacht):
    """The split hangs on the values alone: other features of the test rows leave the training inputs as they are."""
    lines = [line.split() for line in rows(50).splitlines()]
    values = np.array([float(line[-1]) for line in lines], dtype=np.float32)
    _, test = stratified(values, 0.2, np.random.default_rng(0))
    write_yacht(rows(50))
    before = Yacht().load(tmp_path)
    for i in test:
        lines[i][0] = "1000"
    write_yacht("\n".join(map(" ".join, lines)))
    after = Yacht().load(tmp_path)
    assert torch.equal(before.train_input, after.train_input)
    assert (after.test_input[:, 0] > 100).all() and torch.equal(before.test_input[:, 1:], after.test_input[:, 1:])


@pytest.mark.parametrize(
    "text, message",
    [
        (rows(9, 6), "expected 7 finite numbers a line, found 6 columns"),
        (rows(9) + "1 2 3\n", "not a table of numbers"),
        (rows(9) + "1 2 3 4 5 6 nan\n", "finite numbers"),
        ("<html>", "not a table of numbers"),
    ],
)
def test_bad_file(text, message, tmp_path, write_yacht):
    write_yacht(text)
    with pytest.raises(DataError, match=message):
        Yacht().load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="regression/energy.txt"):
        Energy().load(tmp_path)


@pytest.mark.parametrize(
    "dataset, train, test, features, span",
    [(Energy, 614, 154, 8, (6.01, 43.1)), (Concrete, 824, 206, 8, (2.33, 82.6)), (Yacht, 246, 62, 6, (0.01, 62.42))],
)
def test_real_tables(real, dataset, train, test, features, span):
    """Rows and ranges are those of the UCI pages; a value's tenths are in test as in train."""
    source = real(dataset())
    assert source.train_input.shape == (train, features) and source.test_input.shape == (test, features)
    values = np.concatenate([source.train_clean, source.test_clean])
    assert (values.min(), values.max()) == pytest.approx(span, abs=1e-5)
    np.testing.assert_allclose(source.train_input.double().std(0, correction=0), 1, atol=1e-5)
    deciles = np.quantile(source.train_clean, np.arange(0.1, 1, 0.1))
    shares = np.bincount(np.digitize(source.test_clean, deciles), minlength=10) / test
    assert np.abs(shares - 0.1).max() < 0.06
