"""SimiFeat: neighbours by hand, the transition recovered, planted labels found without training."""

import pytest
import torch

from lilawbench.metrics.consensus import transition_of, wrong_shares
from lilawbench.probes.detectors.base import Look, Plain
from lilawbench.probes.detectors.simifeat import SimiFeat, SimiFeatVote, class_shares, least_of_each, nearest


def test_neighbours_and_shares_by_hand():
    """Directions 0, 60, 90 and 180 degrees, lengths that do not matter.

    From the first: similarities 1/2 and 0; own weight 2 * 1/2 - 0 = 1. With its label 0, and 1 of the second: 2/3, 1/3.
    From the second: cos 30 = .866 and 1/2, own 2 * .866 - .5 = 1.232.
    """
    angle = torch.tensor([0.0, 60.0, 90.0, 180.0]).deg2rad()
    features = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([[1.0], [5.0], [0.1], [2.0]])
    similarity, rows = nearest(features, 2)
    assert rows[:2].tolist() == [[1, 2], [2, 0]]
    torch.testing.assert_close(similarity[0], torch.tensor([0.5, 0.0]), rtol=0, atol=1e-6)
    shares = class_shares(similarity, rows, torch.tensor([0, 1, 1, 0]), 2)
    torch.testing.assert_close(shares[0], torch.tensor([2 / 3, 1 / 3]).double(), rtol=0, atol=1e-6)
    root = 3**0.5 / 2
    expected = torch.tensor([0.5, root + 2 * root - 0.5]).double()
    torch.testing.assert_close(shares[1], expected / expected.sum(), rtol=0, atol=1e-6)


def test_the_least_of_each_class():
    values, labels = torch.tensor([0.3, 0.1, 0.2, 0.9, 0.8]), torch.tensor([0, 0, 0, 1, 1])
    assert least_of_each(values, labels, torch.tensor([2 / 3, 0.0])).tolist() == [0, 1, 1, 0, 0]


def consensus(transition: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """True labels, observed ones, and neighbours of the same true label."""
    generator, classes = torch.Generator().manual_seed(0), len(transition)
    clean = torch.randint(classes, (rows,), generator=generator).sort().values
    observed = torch.multinomial(transition[clean], 1, generator=generator)[:, 0]
    counts = clean.bincount(minlength=classes)
    start = (counts.cumsum(0) - counts)[clean]
    pair = (torch.rand(rows, 2, generator=generator) * counts[clean][:, None]).long()
    return clean, observed, start[:, None] + pair


@pytest.mark.slow
def test_the_transition_is_recovered_from_neighbours():
    """20,000 rows: each entry within .03, about twice the error of a share of 6,700 rows in a triple."""
    transition = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]], dtype=torch.float64)
    clean, observed, neighbours = consensus(transition, 20_000)
    found, share = transition_of(observed, neighbours, 3)
    torch.testing.assert_close(found, transition, rtol=0, atol=0.03)
    torch.testing.assert_close(share, clean.bincount().double() / len(clean), rtol=0, atol=0.03)
    wrong = torch.stack([(clean != observed)[observed == label].double().mean() for label in range(3)])
    torch.testing.assert_close(wrong_shares(observed, neighbours, 3), wrong, rtol=0, atol=0.03)


def test_more_classes_than_triples_can_be_counted_for():
    with pytest.raises(ValueError, match="101 classes; counts of triples are for 100 at most"):
        transition_of(torch.zeros(3, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.int64), 101)


@pytest.mark.parametrize("kind, features", [(SimiFeat, "inputs"), (SimiFeatVote, "network")])
def test_planted_labels_among_two_heaps(kind, features):
    """Two heaps of 60 rows far apart, three labels of each wrong: these six are the first of the list."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(120) // 60
    heaps = torch.eye(2).repeat_interleave(60, 0) * 5 + torch.randn(120, 2, generator=generator)
    wrong = torch.arange(120) % 60 < 3
    observed = torch.where(wrong, 1 - clean, clean)
    look = Look(
        *(1, torch.zeros(120, 2), observed, wrong),
        inputs=lambda: heaps if features == "inputs" else None,
        in_order=lambda: Plain(torch.zeros(120, 2), heaps),
    )
    detector = kind(features=features)
    detector.setup(120, 2)
    detector.see(look)
    score = detector.scores()
    assert score[wrong].min() > score[~wrong].max()
    assert 4 <= (score > 0).sum() <= 8 if kind is SimiFeat else torch.equal(score > 0, wrong)


@pytest.mark.parametrize("options, said", [({"k": 2}, "k is 2"), ({"features": "pixels"}, "features is 'pixels'")])
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=said):
        SimiFeat(**options)
