"""The measures of each task by hand and against scikit-learn; what became of corrupted labels and values."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from lilawbench.metrics.measure import corrupted, headline, measure, memorisation


def test_means_over_classes_are_scikit_learns():
    """Four of five classes are there, and each is predicted."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(4, (200,), generator=generator)
    logits = torch.randn(200, 5, generator=generator) + 2 * torch.nn.functional.one_hot(target, 5)
    out, predicted = measure(logits, target), logits.argmax(1).numpy()
    target = target.numpy()
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(
        target, predicted, average="macro", zero_division=0
    )
    assert set(predicted.tolist()) == {0, 1, 2, 3, 4}
    assert (out["precision"], out["recall"], out["f1"]) == pytest.approx((precision, recall, f1), abs=1e-6)
    recalls = oracle.recall_score(target, predicted, average=None, labels=[0, 1, 2, 3])
    assert out["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-6)
    probs = logits.double().softmax(1).numpy()
    assert out["auroc"] == pytest.approx(
        np.mean([oracle.roc_auc_score(target == k, probs[:, k]) for k in range(4)]), abs=1e-6
    )
    assert headline(logits, torch.from_numpy(target)) == out["accuracy"] == oracle.accuracy_score(target, predicted)


def test_two_classes_have_one_auroc():
    generator = torch.Generator().manual_seed(1)
    logits, target = torch.randn(50, 2, generator=generator), torch.randint(2, (50,), generator=generator)
    expected = oracle.roc_auc_score(target.numpy(), (logits[:, 1] - logits[:, 0]).numpy())
    assert measure(logits, target)["auroc"] == pytest.approx(expected, abs=1e-6)


def test_one_class_alone_has_no_auroc():
    assert "auroc" not in measure(torch.randn(4, 3), torch.ones(4, dtype=torch.int64))


def test_equal_scores_are_in_no_order():
    """One yes among four equal scores: half of every pair, precision 1/4, whichever row it is in."""
    for row in range(4):
        out = measure(torch.zeros(4, 1), torch.nn.functional.one_hot(torch.tensor(row), 4)[:, None])
        assert (out["auroc"], out["mAP"]) == (0.5, 0.25)


@pytest.mark.parametrize("levels", [5, 10_000])
def test_orders_are_scikit_learns(levels):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(levels, (300, 4), generator=generator) / levels * 2 - 1
    target = (torch.rand(300, 4, generator=generator) < (logits + 1) / 2).long()
    out = measure(logits, target)
    for name, score in [("auroc", oracle.roc_auc_score), ("mAP", oracle.average_precision_score)]:
        assert out[name] == pytest.approx(score(target.numpy(), logits.numpy(), average="macro"), abs=1e-6)


def test_labels_that_nobody_has_have_no_order():
    out = measure(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.int64))
    assert {"auroc", "mAP"}.isdisjoint(out) and math.isnan(headline(torch.ones(2, 3), torch.zeros(2, 3)))


def test_several_labels_by_hand():
    """Label 0: scores 2, 1, -1 with 1, 0, 1: precision 1 and 2/3, AP 5/6; label 1: scores in order, AP 1."""
    logits, target = torch.tensor([[2.0, -3.0], [1.0, 1.0], [-1.0, -1.0]]), torch.tensor([[1, 0], [0, 1], [1, 0]])
    out = measure(logits, target)
    assert out["mAP"] == headline(logits, target) == pytest.approx((5 / 6 + 1) / 2, abs=1e-6)
    assert out["auroc"] == pytest.approx((0.5 + 1) / 2, abs=1e-6)
    assert out["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    # label 0: predicted rows 0, 1, true rows 0, 2: precision, recall and F1 are 1/2; label 1: all are 1
    assert (out["precision"], out["recall"], out["f1"]) == (0.75, 0.75, 0.75)
    terms = [math.log1p(math.exp(z)) - z * y for z, y in [(2, 1), (-3, 0), (1, 0), (1, 1), (-1, 1), (-1, 0)]]
    assert out["loss"] == pytest.approx(sum(terms) / 6, abs=1e-6)


def test_a_label_that_nobody_has_is_left_out():
    logits, target = torch.tensor([[1.0, -1.0], [-1.0, -2.0]]), torch.tensor([[1, 0], [0, 0]])
    out = measure(logits, target)
    assert (out["mAP"], out["auroc"], out["f1"]) == (1.0, 1.0, 1.0)


def test_values_by_hand():
    """Errors 1, -1, 2 of values 0, 2, 4, whose variance is 8/3."""
    logits, target = torch.tensor([[1.0], [1.0], [6.0]]), torch.tensor([0.0, 2.0, 4.0])
    out = measure(logits, target)
    assert out == pytest.approx({"loss": 2.0, "rmse": math.sqrt(2), "mae": 4 / 3, "r2": 1 - 2 / (8 / 3)}, abs=1e-6)
    assert out["r2"] == pytest.approx(oracle.r2_score(target.numpy(), logits[:, 0].numpy()), abs=1e-6)
    assert headline(logits, target) == out["rmse"]
    assert "r2" not in measure(logits, torch.ones(3))


def test_corrupted_samples_of_each_kind():
    assert corrupted(torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2])).tolist() == [False, True, False]
    assert corrupted(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [0, 1]])).tolist() == [False, True]


def test_memorisation_of_labels_by_hand():
    """Two labels of row 1 are wrong; one is predicted as it was observed, the other as it was."""
    observed, clean = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1, 0], [1, 0]])
    out = memorisation(torch.tensor([[1.0, -1.0], [2.0, 2.0]]), observed, clean, torch.tensor([1.0, 3.0]))
    assert out == {
        "train_clean_accuracy": 0.75, "memorised": 0.5, "recovered": 0.5, "weight_clean": 1.0, "weight_corrupted": 3.0,
    }  # fmt: skip


def test_memorisation_of_values_by_hand():
    """Of 0 observed as 10, a prediction of 6 is nearer to the wrong value, 4 to the right one."""
    observed, clean = torch.tensor([10.0, 10.0, 5.0]), torch.tensor([0.0, 0.0, 5.0])
    out = memorisation(torch.tensor([[6.0], [4.0], [5.0]]), observed, clean)
    assert (out["memorised"], out["recovered"]) == (0.5, 0.5)
    assert out["train_clean_rmse"] == pytest.approx(math.sqrt(52 / 3), abs=1e-6)
