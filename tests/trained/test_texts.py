"""A run on texts: its look-ahead, its list of suspects, and the prediction of new texts."""

import csv

import numpy as np
import pytest
import torch

import lilawbench
from lilawbench.train import run
from lilawbench.trained.predicting import predict


@pytest.fixture(scope="module")
def text_run(composing, tmp_path_factory):
    """The folder of a run of LiLAW on texts that `good` or `bad` tells, with train.csv and test.csv beside outputs/."""
    root = tmp_path_factory.mktemp("texts")
    draw = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 12)):
        with (root / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["review", "stars"])
            for row in range(count):
                others = draw.choice(["film", "a", "the", "plot"], 3 + row % 4).tolist()
                writer.writerow([" ".join([*others, ["bad", "good"][row % 2]]), row % 2])
    options = ["dataset=text", f"dataset.path={root}/train.csv", f"dataset.test_path={root}/test.csv",
               "dataset.text=review", "dataset.label=stars", "noise=symmetric", "noise.rate=0.2", "method=lilaw",
               "method.warmup_epochs=1", "train.epochs=4", "train.batch_size=16", "train.lr=0.02", "train.threads=1",
               "model.embedding=6", "model.filters=8", "model.dense=8"]  # fmt: skip
    return root, run(composing(f"paths.output_dir={root}/outputs", *options))


def test_new_texts_are_predicted_as_its_own(text_run):
    root, record = text_run
    with np.load(record.folder / "predictions.npz") as kept:
        own, ids = kept["last.test"], kept["test_ids"]
    found = predict(record.folder, root / "test.csv", "last", device="cpu")
    assert found.logits.numpy().tobytes() == own.tobytes() and found.ids.tolist() == ids.tolist()
    network, preprocess = lilawbench.load_model(record.folder, "last")
    words = preprocess(["good plot, new words", "bad"])
    assert words.dtype == torch.int64 and network(words).shape == (2, 2)


def test_its_suspects_are_called_by_their_first_words(text_run):
    _, record = text_run
    with (record.folder / "suspects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (record.folder / "suspects_rows.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert first["review"].startswith(first["row"].split(": ", 1)[1]) and rows[0]["row"] == first["row"]
    assert 0 < record.result["last.test_average_precision"] <= 1 and record.result["noise.realised_rate"] > 0.1
