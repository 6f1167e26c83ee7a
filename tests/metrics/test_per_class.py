"""Per class, by hand and against scikit-learn."""

import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from lilawbench.metrics.per_class import confusion, per_class


def test_by_hand():
    """Labels a a a b, predicted a a b c: of a 2 of 3 are found and both predictions are right; nothing is c, and the
    one prediction of b is wrong, so is that of c; d is neither there nor predicted."""
    predicted, truth = (torch.tensor(rows)[:, None] == torch.arange(4) for rows in ([0, 0, 1, 2], [0, 0, 0, 1]))
    a, b, c, d = per_class(predicted, truth, "abcd")
    assert a == {"class": "a", "n": 3, "precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8)}
    assert b == {"class": "b", "n": 1, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert c == {"class": "c", "n": 0, "precision": 0.0, "recall": None, "f1": 0.0}
    assert d == {"class": "d", "n": 0, "precision": None, "recall": None, "f1": None}


def test_against_scikit_learn():
    draw = torch.Generator().manual_seed(0)
    target, predicted = (torch.randint(5, (200,), generator=draw) for _ in range(2))
    assert confusion(predicted, target, 5).tolist() == confusion_matrix(target, predicted).tolist()
    rows = per_class(predicted[:, None] == torch.arange(5), target[:, None] == torch.arange(5), "abcde")
    columns = precision_recall_fscore_support(target, predicted)
    for name, column in zip(("precision", "recall", "f1", "n"), columns):
        assert [row[name] for row in rows] == pytest.approx(column.tolist())


def test_a_class_without_a_row_is_in_the_matrix():
    assert confusion(torch.tensor([2]), torch.tensor([0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
