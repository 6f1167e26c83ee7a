"""Folds, and scores of features and gradients, are on one device and wait for it where they say."""

from collections import Counter

import pytest

from lilawbench.train import run

SCORES = "detect.scores=[confident_learning,grand,tracin,simifeat]"


@pytest.mark.slow
def test_folds_are_on_one_device(away, tiny):
    run(tiny("detect.folds=2", "detect.score=self_confidence_oos", SCORES, "train.epochs=1"))
    waits = Counter(why for _, why in away.reads)
    assert waits["labels of the folds"] == 1 and waits["logits of a fold"] == 2
    assert waits["features to measure"] == 2 and waits["losses of an epoch"] == 3
    assert not any(in_step for in_step, _ in away.reads)
