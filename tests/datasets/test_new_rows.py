"""What a data set keeps to read new rows: through JSON and back, its own rows come out as they were."""

import json

import numpy as np
import pytest
import torch

from lilawbench.config import build
from lilawbench.datasets.adult import CATEGORICAL, NUMERIC, _read, split_rows
from lilawbench.datasets.arrays import Arrays
from lilawbench.datasets.base import Source
from lilawbench.datasets.embeddings import Embeddings
from lilawbench.datasets.new_rows.base import Labelling
from lilawbench.datasets.new_rows.images import ImageReader
from lilawbench.datasets.new_rows.readers import described, reader_from, reader_of
from lilawbench.datasets.table import Table
from lilawbench.support.errors import DataError


def kept(source):
    return reader_from(json.loads(json.dumps(described(reader_of(source)))))


@pytest.fixture
def series(tmp_path):
    """my.npz with series of two channels to train and to test, rows named, text labels."""
    draw = np.random.default_rng(0)
    arrays = {f"{part}_series": draw.normal(3, 2, (n, 4, 2)) for part, n in (("train", 20), ("test", 6))}
    arrays |= {f"{part}_labels": np.array(["no", "yes"] * (n // 2)) for part, n in (("train", 20), ("test", 6))}
    np.savez(tmp_path / "my.npz", **arrays, test_ids=np.arange(6) + 10)
    return tmp_path / "my.npz"


def test_arrays_and_their_labels(series):
    source = Arrays(str(series)).load(None)
    found = kept(source).read(series, Labelling("binary", source.class_names))
    assert found.input.numpy().tobytes() == source.test_input.numpy().tobytes()
    assert found.ids.tolist() == source.test_ids.tolist() and found.given.tolist() == ["no", "yes"] * 3
    raw = np.load(series)["test_series"]
    assert torch.equal(kept(source).take(raw).input, source.test_input)
    unscaled = Arrays(str(series), standardise=False).load(None)
    assert torch.equal(kept(unscaled).take(raw).input, unscaled.test_input)


@pytest.mark.parametrize(
    "array, said",
    [
        (np.zeros((2, 4, 3)), r"float64 \[2, 4, 3\]; the run's rows are numbers \[N, 4, 2\]"),
        (np.zeros((0, 4, 2)), "has no rows"),
        (np.full((2, 4, 2), np.inf), r"\[0, 0, 0\] is inf \(16 such numbers\)"),
    ],
)
def test_arrays_that_do_not_fit(series, array, said):
    with pytest.raises(DataError, match=said):
        kept(Arrays(str(series)).load(None)).take(array)


def test_labels_as_numbers_of_classes(series, tmp_path):
    reader, labelling = kept(Arrays(str(series)).load(None)), Labelling("binary", ("no", "yes"))
    np.savez(tmp_path / "new.npz", series=np.zeros((2, 4, 2)), labels=np.array([1, 0]))
    assert reader.read(tmp_path / "new.npz", labelling).given.tolist() == ["yes", "no"]
    np.savez(tmp_path / "new.npz", series=np.zeros((2, 4, 2)), labels=np.array([1, 2]))
    with pytest.raises(DataError, match="label '.' is none of the run's 2 classes"):
        reader.read(tmp_path / "new.npz", labelling)


def test_sources_of_features(tmp_path):
    draw = np.random.default_rng(0)
    for name, rows in (("a", 12), ("t", 5)):
        np.savez(tmp_path / f"{name}.npz", features=draw.normal(5, 3, (rows, 3)), target=np.arange(rows) % 2)
    files = {name: str(tmp_path / f"{name}.npz") for name in "at"}
    source = Embeddings(files, ["a"], ["t"], num_classes=2).load(None)
    assert torch.equal(kept(source).read(tmp_path / "t.npz").input, source.test_input)


def test_a_table_with_words_and_decimals_of_its_own(tmp_path):
    text = "x;c\n1,5;red\nkA;blue\n2,5;red\n4,0;\n" * 3
    (tmp_path / "my.csv").write_text("y;x;c\n" + "".join(f"{'ab'[i % 2]};{line}\n" for i, line in
                                     enumerate(line for line in text.splitlines() if line != "x;c")))  # fmt: skip
    options = {"missing": ["kA"], "decimal": ",", "delimiter": ";", "test_path": tmp_path / "my.csv"}
    source = Table(tmp_path / "my.csv", "y", **options).load(None)
    found = kept(source).read(tmp_path / "my.csv")
    assert torch.equal(found.input, source.test_input) and found.ids.tolist() == source.test_ids.tolist()


def test_images_of_a_benchmark():
    images = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4).to(torch.uint8)
    source = Source(images, np.arange(2), images, np.arange(2), ("a", "b"), (0.5,) * 3, (0.2,) * 3)
    reader = kept(source)
    assert isinstance(reader, ImageReader)
    assert torch.equal(reader.take(images.permute(0, 2, 3, 1).numpy()).input, images)
    with pytest.raises(DataError, match="torch.float32 .* the run's images have 3 channel"):
        reader.take(images.float())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["energy", "emotions", "adult"])
def test_benchmarks(composing, data_dir, tmp_path, name):
    source = build(composing(f"dataset={name}").dataset).load(data_dir)
    if name != "adult":  # standardised: mean 0 and std 1 of the training rows are those of the scale
        scale = kept(source).scale
        raw = source.train_input.numpy() * scale.std + scale.mean
        np.testing.assert_allclose(kept(source).take(raw).input, source.train_input, atol=1e-5)
        return
    table = _read(data_dir / "adult" / "adult.data")
    _, test = split_rows((table["income"] == ">50K").to_numpy(np.int64), 0.3)
    table.iloc[test][[*NUMERIC, *CATEGORICAL]].to_csv(tmp_path / "adult.csv", index=False)
    assert torch.equal(kept(source).read(tmp_path / "adult.csv").input, source.test_input)
