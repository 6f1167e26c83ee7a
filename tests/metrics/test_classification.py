"""Measures worked by hand."""

import math

import pytest
import torch

from lilawbench.metrics.classification import classification
from lilawbench.metrics.measure import memorisation


def predicting(classes, num_classes):
    return 5.0 * torch.nn.functional.one_hot(torch.tensor(classes), num_classes).float()


def test_classification_by_hand():
    """Probabilities (1/4, 3/4), (1/2, 1/2), (9/10, 1/10) and labels 1, 0, 1: losses ln 4/3, ln 2, ln 10."""
    logits = torch.tensor([[0.25, 0.75], [0.5001, 0.4999], [0.9, 0.1]]).log()
    out = classification(logits, torch.tensor([1, 0, 1]))
    means = {"auroc", "average_precision", "balanced_accuracy", "precision", "recall", "f1"}
    each = {f"{name}_class{k}" for name in ("precision", "recall", "f1") for k in (0, 1)}
    weighted = {f"weighted_{name}" for name in ("precision", "recall", "f1")}
    assert set(out) == {"loss", "accuracy"} | means | each | weighted
    assert all(type(value) is float for value in out.values())
    assert out["loss"] == pytest.approx((math.log(4 / 3) + math.log(2) + math.log(10)) / 3, abs=1e-4)
    assert out["accuracy"] == pytest.approx(2 / 3, abs=1e-12)
    # predicted 1, 0, 0: of class 0 one right and one false alarm, of class 1 one right and one missed
    assert (out["precision_class0"], out["recall_class0"]) == (0.5, 1.0)
    assert (out["precision_class1"], out["recall_class1"]) == (1.0, 0.5)
    assert [out[f"f1_class{k}"] for k in (0, 1)] == pytest.approx([2 / 3, 2 / 3], abs=1e-6)
    assert out["weighted_precision"] == pytest.approx((0.5 + 2 * 1.0) / 3, abs=1e-6)
    assert out["weighted_recall"] == pytest.approx(out["accuracy"], abs=1e-6)


def test_top5_is_there_from_six_classes_on():
    """Logits 6 > 5 > ... > 1: the label is among the first five unless it is class 5."""
    logits = torch.arange(6, 0, -1.0).repeat(4, 1)
    out = classification(logits, torch.tensor([0, 4, 5, 1]))
    assert (out["accuracy"], out["top5_accuracy"]) == (0.25, 0.75)
    assert "top5_accuracy" not in classification(logits[:, :5], torch.tensor([0, 1, 2, 3]))


def test_accuracy_does_not_round_on_many_samples():
    """The mean is taken in double precision: a float32 one is off in the eighth decimal."""
    target = torch.arange(300_003) % 3
    logits = torch.zeros(len(target), 3)
    assert classification(logits, target)["accuracy"] == 100_001 / 300_003


OBSERVED = torch.tensor([0, 1, 2, 0, 1])
CLEAN = torch.tensor([0, 1, 0, 1, 2])  # rows 2, 3, 4 are corrupted
LOGITS = predicting([0, 2, 2, 1, 0], 3)  # clean row 0 right; row 2 memorised, row 3 recovered, row 4 neither


def test_memorisation_by_hand():
    assert memorisation(LOGITS, OBSERVED, CLEAN) == {
        "train_clean_accuracy": pytest.approx(2 / 5, abs=1e-12),
        "memorised": pytest.approx(1 / 3, abs=1e-12),
        "recovered": pytest.approx(1 / 3, abs=1e-12),
    }


def test_mean_weights_of_clean_and_corrupted_samples():
    out = memorisation(LOGITS, OBSERVED, CLEAN, torch.tensor([1.0, 2.0, 3.0, 4.0, 8.0]))
    assert (out["weight_clean"], out["weight_corrupted"]) == (1.5, 5.0)


def test_without_corrupted_samples_there_is_nothing_to_memorise():
    out = memorisation(LOGITS, CLEAN, CLEAN, torch.ones(5))
    assert out == {"train_clean_accuracy": pytest.approx(0.4, abs=1e-12), "weight_clean": 1.0}
    assert set(memorisation(LOGITS, CLEAN, CLEAN)) == {"train_clean_accuracy"}
