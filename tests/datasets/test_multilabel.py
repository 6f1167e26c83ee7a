"""Mulan's tables: the real files, and tiny ones in their layout."""

import numpy as np
import pytest
import torch

from lilawbench.datasets.multilabel import Emotions, Yeast
from lilawbench.support.errors import DataError

NAMES = [f"feeling-{k}" for k in range(6)]


def arff(rows: list[str]) -> str:
    head = ["@relation music", "", "@attribute rhythm numeric", "@attribute timbre numeric"]
    return "\n".join([*head, *(f"@attribute {name} {{0,1}}" for name in NAMES), "", "@data", *rows, ""])


@pytest.fixture
def write_emotions(tmp_path, monkeypatch, md5):
    """write_emotions(train rows, test rows): makes them the official files below tmp_path."""

    def write(*parts: list[str]):
        folder = tmp_path / "multilabel"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"emotions-{part}.arff" for part in ("train", "test")]
        for path, rows in zip(paths, parts, strict=True):
            path.write_text(arff(rows))
        monkeypatch.setattr(Emotions, "md5", tuple(map(md5, paths)))

    return write


def test_features_and_labels(tmp_path, write_emotions):
    write_emotions(["1.0,5,0,1,0,0,0,1", "3.0,5,1,0,0,0,0,0"], ["4.0,6,0,0,1,1,0,0"])
    source = Emotions().load(tmp_path)
    assert (source.task, source.num_classes, source.class_names) == ("multilabel", 6, tuple(NAMES))
    assert source.train_clean.tolist() == [[0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0]]
    assert source.test_clean.tolist() == [[0, 0, 1, 1, 0, 0]] and source.test_clean.dtype == np.int64
    # rhythm: mean 2, std 1; timbre is 5 in every training row, and 1 above it in test
    assert source.train_input.tolist() == [[-1.0, 0.0], [1.0, 0.0]] and source.test_input.tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize(
    "rows, message",
    [
        (["1.0,5,0,1,0,0,0"], "emotions-test.arff is not an ARFF table of numbers"),
        (["1.0,5,0,1,0,0,0,2"], "emotions-test.arff is not an ARFF table of numbers"),
        (["?,5,0,1,0,0,0,1"], "expected finite numbers and then 6 labels"),
    ],
)
def test_bad_file(rows, message, tmp_path, write_emotions):
    write_emotions(["1.0,5,0,1,0,0,0,1"], rows)
    with pytest.raises(DataError, match=message):
        Emotions().load(tmp_path)


@pytest.mark.parametrize(
    "dataset, sizes, labels, cardinality",
    [(Emotions, (391, 202, 72), 6, 1.869), (Yeast, (1500, 917, 103), 14, 4.237)],
)
def test_real_tables(real, dataset, sizes, labels, cardinality):
    """Rows, features, labels and the mean number of labels are those of Mulan's page."""
    source = real(dataset())
    assert (len(source.train_clean), len(source.test_clean), *source.input_shape) == sizes
    both = np.concatenate([source.train_clean, source.test_clean])
    assert both.shape[1] == labels == len(source.class_names)
    assert both.sum(axis=1).mean() == pytest.approx(cardinality, abs=1e-3)
    torch.testing.assert_close(source.train_input.mean(0), torch.zeros(sizes[2]), rtol=0, atol=1e-5)
