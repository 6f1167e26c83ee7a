"""Whole runs with folds, beside cleanlab on the same out-of-sample predictions and the same rows; -rP prints them."""

import csv
import json

import numpy as np
import pytest

from lilawbench.train import run

DATA = {
    "digits": ["dataset=digits", "train.epochs=12"],
    "adult": ["dataset=adult", "split.train_samples=3000", "train.epochs=4"],
    "breastmnist": ["dataset=medmnist", "model=cnn", "model.channels=[8,8,8]", "model.dense=16", "train.epochs=8"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_lists_are_cleanlabs_and_find_as_many(composed, request, stable, name):
    """20 % of the labels are planted wrong. The rows that are counted as wrong are cleanlab's, in its order, and so is
    the estimate; of as many rows as were planted, as many are wrong as in cleanlab's list, continued by its score."""
    cleanlab = pytest.importorskip("cleanlab")
    options = DATA[name] if name == "digits" else [*DATA[name], f"paths.data_dir={request.getfixturevalue('data_dir')}"]
    scores = "detect.scores=[aum,confident_learning,self_confidence_oos,normalised_margin_oos]"
    plant = ["noise=symmetric", "noise.rate=0.2", "train.batch_size=64", "train.lr=0.001"]
    done = run(composed(*options, *plant, "detect.folds=5", "detect.score=confident_learning", scores))

    kept = np.load(done.folder / "labels.npz")
    observed, clean = (kept[part][kept["train"]] for part in ("observed", "clean"))
    folds = [np.load(path) for path in (done.folder / "folds").iterdir()]
    probs = np.empty((len(observed), len(done.result["class_names"])))
    for fold in folds:
        probs[fold["rows"]] = fold["probs"]
    issues = cleanlab.filter.find_label_issues(observed, probs, return_indices_ranked_by="self_confidence", n_jobs=1)
    quality = cleanlab.rank.get_label_quality_scores(observed, probs)
    wrong = observed != clean
    planted = int(wrong.sum())

    with (done.folder / "suspects.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    place = {row: number for number, row in enumerate(map(str, names(kept)))}
    order = np.array([place[row["row"]] for row in listed])
    ours = np.array([float(row["confident_learning"]) for row in listed])
    found = order[ours > 0]
    ties = np.isclose(quality[found], quality[issues], rtol=1e-4, atol=1e-7)  # equal probabilities, in any order
    assert set(found) == set(issues) and ties.all()

    rest = np.setdiff1d(np.argsort(quality, kind="stable"), issues, assume_unique=True)
    theirs = wrong[np.concatenate([issues, rest])[:planted]].mean()
    precision = {
        key.removeprefix("suspects_precision_at_count_"): value
        for key, value in done.result.items()
        if key.startswith("suspects_precision_at_count_")
    }
    estimate = cleanlab.count.num_label_issues(observed, probs, estimation_method="off_diagonal_calibrated")
    counts = {"planted": planted, "of": len(wrong), "estimated": int(estimate)}
    print(name, json.dumps({**counts, "cleanlab": theirs, **precision}))
    assert precision["confident_learning"] >= theirs - 1.5 / planted  # of rows with equal scores, which are the last
    assert done.result["suspects_estimated_confident"] == estimate


def names(kept) -> np.ndarray:
    """What the list calls the training rows."""
    return kept["ids"][kept["train"]] if "ids" in kept else kept["train"]
