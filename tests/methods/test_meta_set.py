"""Loss bins and meta sets against hand-worked tables and the definitions."""

import pytest
import torch

from lilawbench.methods.parts.meta_set import RowDraw, loss_bins, meta_rows, ranks


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_ranks_by_hand():
    """Class 0 holds 3, 1, 1 (a tie: the earlier row first), class 2 holds 5, NaN; class 1 nothing."""
    values = torch.tensor([3.0, torch.nan, 1.0, 5.0, 1.0])
    classes = torch.tensor([0, 2, 0, 2, 0])
    assert ranks(values, classes).tolist() == [2, 1, 0, 0, 1]


def test_bins_by_hand():
    """floor(rank / (n + 1) R): five samples in three bins are 0, 0, 1, 1, 2; two samples 0, 1."""
    losses = torch.tensor([0.5, 0.1, 0.9, 0.3, 0.7, 2.0, 1.0])
    classes = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    assert loss_bins(losses, classes, 3).tolist() == [1, 0, 2, 0, 1, 1, 0]


def test_bins_against_a_loop():
    random = generator()
    losses, classes = torch.rand(500, generator=random), torch.randint(0, 7, (500,), generator=random)
    for bins in (1, 10, 40):
        ours = loss_bins(losses, classes, bins)
        for c in range(7):
            rows = (classes == c).nonzero()[:, 0]
            for rank, row in enumerate(rows[losses[rows].argsort()]):
                assert ours[row] == int(rank / (len(rows) + 1) * bins)
        assert ours.min() == 0 and ours.max() == bins - 1


@pytest.mark.parametrize("sampling", ["hierarchical", "lowest_loss", "random"])
def test_meta_sets_are_balanced(sampling):
    random = generator()
    losses, classes = torch.rand(300, generator=random), torch.randint(0, 5, (300,), generator=random)
    chosen = meta_rows(losses, classes, 20, 8, generator(1), sampling)
    assert classes[chosen].bincount(minlength=5).tolist() == [8] * 5
    assert torch.equal(chosen, meta_rows(losses, classes, 20, 8, generator(1), sampling))
    other = meta_rows(losses, classes, 20, 8, generator(2), sampling)
    assert torch.equal(chosen, other) == (sampling == "lowest_loss")


def test_what_each_sampling_prefers():
    """Of 100 samples a class: the 8 lowest; the 8 lowest of 20 at random, .22 of the way up on average; any 8."""
    losses, classes = torch.arange(100.0).repeat(2), torch.tensor([0] * 100 + [1] * 100)
    assert losses[meta_rows(losses, classes, 20, 8, generator(), "lowest_loss")].max() == 7
    mean = {}
    for sampling in ("hierarchical", "random"):
        drawn = [losses[meta_rows(losses, classes, 20, 8, generator(seed), sampling)] for seed in range(50)]
        mean[sampling] = torch.cat(drawn).mean().item()
    # the k-th smallest of 20 from 1..100 lies at k 101/21 on average; k = 1..8
    assert mean["hierarchical"] == pytest.approx(4.5 * 101 / 21 - 1, abs=1.5)
    assert mean["random"] == pytest.approx(49.5, abs=3)


def test_a_primary_set_of_the_size_of_the_meta_set_is_the_meta_set():
    losses, classes = torch.rand(60, generator=generator()), torch.arange(60) % 3
    chosen = meta_rows(losses, classes, 5, 5, generator(3))
    assert torch.equal(chosen, meta_rows(-losses, classes, 5, 5, generator(3)))
    assert chosen.sum() == 15


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_losses_that_are_not_finite_do_not_unbalance_it(value):
    assert meta_rows(torch.full((20,), value), torch.arange(20) % 2, 6, 3, generator()).sum() == 6


def test_draws_use_every_row_before_one_comes_again():
    rows = torch.tensor([3, 5, 8, 13, 21, 34])
    draw = RowDraw(rows, generator())
    pieces = [draw(2) for _ in range(6)]
    for epoch in (pieces[:3], pieces[3:]):
        assert sorted(torch.cat(epoch).tolist()) == rows.tolist()
    assert torch.cat(pieces[:3]).tolist() != torch.cat(pieces[3:]).tolist()
    assert sorted(draw(100).tolist()) == rows.tolist()
    assert all(len(draw(4).unique()) == 4 for _ in range(9))
