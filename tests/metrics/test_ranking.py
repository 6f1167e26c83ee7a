"""AUROC and average precision by hand and against scikit-learn, with and without equal scores."""

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lilawbench.metrics.ranking import auroc, average_precision


def test_by_hand():
    """Scores 4 3 2 1 with yes, no, yes, no: 3 of 4 pairs in order; precision 1 and 2/3 at the yeses."""
    scores, truth = torch.tensor([[4.0], [3.0], [2.0], [1.0]]), torch.tensor([[1], [0], [1], [0]])
    assert auroc(scores, truth).tolist() == [0.75]
    assert average_precision(scores, truth).tolist() == [pytest.approx(5 / 6, abs=1e-15)]


def test_equal_scores_are_in_no_order():
    """One yes among four equal scores: half of every pair, precision 1/4 - whichever row it is in."""
    for row in range(4):
        truth = torch.nn.functional.one_hot(torch.tensor(row), 4)[:, None]
        assert auroc(torch.zeros(4, 1), truth).tolist() == [0.5]
        assert average_precision(torch.zeros(4, 1), truth).tolist() == [0.25]


@pytest.mark.parametrize("levels", [5, 10_000])
def test_are_scikit_learns(levels):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(levels, (300, 4), generator=generator).float()
    truth = (torch.rand(300, 4, generator=generator) < scores / levels).long()
    ours = (auroc(scores, truth), average_precision(scores, truth))
    for values, oracle in zip(ours, (roc_auc_score, average_precision_score), strict=True):
        expected = [oracle(truth[:, k].numpy(), scores[:, k].numpy()) for k in range(4)]
        assert values.tolist() == pytest.approx(expected, abs=1e-12)


def test_a_column_of_one_kind_has_no_value():
    scores, truth = torch.arange(6.0).view(3, 2), torch.tensor([[0, 1], [0, 1], [0, 1]])
    assert auroc(scores, truth).isnan().all()
    assert average_precision(scores, truth).isnan().tolist() == [True, False]
