"""How well scores find wrong labels: by hand, against scikit-learn, and with ties."""

import itertools
import math

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lilawbench.metrics.detection import detection, paper_auprc


def test_by_hand():
    """Five rows, wrong ones at ranks 1 and 3: 5 of 6 pairs are in order, AP = (1 + 2/3) / 2, one of the first two."""
    found = detection(torch.tensor([0.1, 0.9, 0.5, 0.7, 0.2]), torch.tensor([False, True, True, False, False]))
    assert found == pytest.approx(
        {"auroc": 5 / 6, "auprc": 5 / 6, "precision_at_count": 0.5, "fnr_at_rate": 0.5, "lift_at_1pct": 2.5}
    )


@pytest.mark.parametrize("decimals", [8, 1, 0])
def test_against_scikit_learn(decimals):
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(999, generator=generator) < 0.3
    score = (torch.randn(999, generator=generator, dtype=torch.float64) + wrong).round(decimals=decimals)
    found = detection(score, wrong)
    assert found["auroc"] == pytest.approx(roc_auc_score(wrong, score), abs=1e-12)
    assert found["auprc"] == pytest.approx(average_precision_score(wrong, score), abs=1e-12)
    assert paper_auprc(score, wrong) == pytest.approx(average_precision_score(~wrong, score), abs=1e-12)


def test_ties_are_in_random_order():
    """Every order of the four tied rows: the mean precision of the first three, one of them above the tie."""
    score = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    wrong = torch.tensor([True, True, True, False, False, False])
    orders = list(itertools.permutations(range(1, 5), 2))
    expected = sum(1 + int(wrong[a]) + int(wrong[b]) for a, b in orders) / len(orders) / 3
    assert detection(score, wrong)["precision_at_count"] == pytest.approx(expected, abs=1e-12) == 2 / 3


def test_a_score_that_says_nothing():
    """Half of 200 rows wrong: every measure is chance's."""
    found = detection(torch.zeros(200), torch.arange(200) % 2 == 0)
    assert found == {"auroc": 0.5, "auprc": 0.5, "precision_at_count": 0.5, "fnr_at_rate": 0.5, "lift_at_1pct": 1.0}


def test_a_row_that_was_never_seen_comes_last():
    """Below -inf's neighbours: with nan for the wrong row, all five pairs are the wrong way round."""
    score, wrong = torch.tensor([torch.nan, 0.0, -5.0, 1e30, 2.0, 1.0]), torch.arange(6) == 0
    assert detection(score, wrong)["auroc"] == 0.0
    assert detection(score.nan_to_num(nan=torch.inf), wrong)["auroc"] == 1.0


def test_float32_neighbours_stay_apart():
    """1e8 and the next float32: in float64 they are no tie."""
    score = torch.tensor([1e8, torch.nextafter(torch.tensor(1e8), torch.tensor(2e8))])
    assert detection(score, torch.tensor([False, True]))["auroc"] == 1.0


@pytest.mark.parametrize("wrong", [torch.zeros(4).bool(), torch.ones(4).bool()])
def test_nothing_to_tell(wrong):
    assert detection(torch.arange(4.0), wrong) == {}
    assert paper_auprc(torch.arange(4.0), wrong) == pytest.approx(math.nan if wrong.all() else 1.0, nan_ok=True)


def test_a_perfect_ranking_upside_down_as_the_paper_reads_it():
    """Right labels in places N/2 + i: the mean of i / (N/2 + i) goes to 1 - ln 2; the paper prints .3085 for W_beta."""
    wrong = torch.arange(100_000) < 50_000
    raw = wrong.float()[:, None].mul(2).add(torch.linspace(0, 1, 100_000)[:, None])[:, 0]
    assert detection(raw, wrong)["auroc"] == 1.0
    assert paper_auprc(raw, wrong) == pytest.approx(1 - math.log(2), abs=1e-4)
    assert paper_auprc(-raw, wrong) == 1.0
