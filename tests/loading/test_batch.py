"""What a step is given: rows, their views, and batches made of several, which go through shares and parts as such."""

import pytest
import torch

from lilawbench.loading.batch import Batch, joined
from lilawbench.loading.batches import Batches, TrainLoader, paired
from lilawbench.loading.resident import Resident
from lilawbench.support.distributed import World


def rows(first, count):
    """Rows first, first + 1, ...; their inputs and a second view hold their numbers too."""
    index = torch.arange(first, first + count)
    return Batch(index, index[:, None].float(), index % 3, {"strong": -index[:, None].float()})


def assert_fits(batch):
    """All parts of a batch name the same rows."""
    assert torch.equal(batch.input[:, 0].long(), batch.index) and torch.equal(batch.target, batch.index % 3)
    assert torch.equal(batch.views["strong"], -batch.input)


def test_a_joined_batch_comes_apart_again():
    both = joined([rows(0, 5), rows(50, 3)])
    assert both.index.tolist() == [0, 1, 2, 3, 4, 50, 51, 52] and both.sizes == (5, 3)
    assert_fits(both)
    for piece, expected in zip(both.pieces(), (rows(0, 5), rows(50, 3)), strict=True):
        assert_fits(piece)
        assert torch.equal(piece.index, expected.index) and piece.sizes == () and len(piece.pieces()) == 1
    assert joined([rows(0, 5)]).sizes == ()


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_each_part_has_of_each_piece_its_share(parts):
    split = joined([rows(0, 6), rows(50, 4)]).split(parts)
    assert sorted(torch.cat([part.index for part in split]).tolist()) == [*range(6), *range(50, 54)]
    for part in split:
        assert_fits(part)
        sizes = [len(piece.index) for piece in part.pieces()]
        assert len(sizes) == 2 and sizes[0] in (6 // parts, -(-6 // parts)) and sizes[1] in (4 // parts, -(-4 // parts))
        assert [int(piece.index[0] >= 50) for piece in part.pieces()] == [0, 1]


def test_ranks_share_each_piece_and_weigh_what_they_hold():
    """Six and four rows: 3 + 2 on each of two ranks; four ranks all do the four rows, of which two each is too few."""
    both = joined([rows(0, 6), rows(50, 4)])
    for size in (1, 2, 3, 4):
        worlds = [World(rank, size) for rank in range(size)]
        shares = [both.share(world) for world in worlds]
        assert set(torch.cat([share.index for share in shares]).tolist()) == {*range(6), *range(50, 54)}
        assert sum(both.fraction(world) for world in worlds) == pytest.approx(1)
        for share in shares:
            assert_fits(share)
            assert len(share.pieces()) == 2
    assert [len(piece.index) for piece in both.share(World(1, 2)).pieces()] == [3, 2]
    assert both.fraction(World(1, 2)) == 0.5


def test_paired_epochs_are_as_long_as_the_shorter():
    data = Resident(torch.arange(20.0)[:, None], torch.arange(20) % 3)
    loader = TrainLoader(data, 4, seed=0)
    labelled, rest = (loader.epoch(1, mask) for mask in (torch.arange(20) < 8, torch.arange(20) >= 8))
    both = paired(labelled, rest)
    steps = list(both)
    assert len(both) == len(steps) == 2 and len(rest) == 3
    for step in steps:
        assert step.sizes == (4, 4) and (step.index[:4] < 8).all() and (step.index[4:] >= 8).all()
    assert len(Batches(0, [])) == 0 and not list(Batches(0, []))


def test_another_pass_of_an_epoch_has_another_order():
    loader = TrainLoader(Resident(torch.arange(20.0)[:, None], torch.arange(20)), 4, seed=0)
    orders = [torch.cat(loader.rows(1, again=again)).tolist() for again in (0, 1, 2, 0)]
    assert orders[0] == orders[3] and len({tuple(order) for order in orders}) == 3
