"""Streamed tables: the same batches as resident ones, read ahead, and what an unreadable image does."""

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.augment.transforms import Augment
from lilawbench.loading import streamed as stream
from lilawbench.loading.batches import MetaLoader, TrainLoader
from lilawbench.loading.image_files import ImageFiles
from lilawbench.loading.resident import Resident
from lilawbench.loading.streamed import Streamed
from lilawbench.support.distributed import World
from lilawbench.support.errors import DataError

COUNT = 11
MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.3, 0.4)


@pytest.fixture
def files(tmp_path):
    """Eleven noise images of 6 x 6 pixels."""
    draw = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    return ImageFiles(tmp_path, np.array([f"{i}.png" for i in range(COUNT)], dtype=np.bytes_), size=6)


@pytest.fixture
def both(files):
    """The same rows streamed and resident."""
    target = torch.arange(COUNT) % 3
    return Streamed(files, target, MEAN, STD), Resident(files.load(), target, MEAN, STD)


def same(ours, theirs) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours.tensors(), theirs.tensors(), strict=True))


def test_batches_are_those_of_a_resident_table(both):
    streamed, resident = both
    rows = torch.tensor([7, 0, 3])
    assert same(streamed.batch(rows), resident.batch(rows)) and len(streamed) == COUNT
    for ours, theirs in zip(streamed.in_order(4), resident.in_order(4), strict=True):
        assert same(ours, theirs)
    world = World(rank=1, size=2)
    assert [b.index.tolist() for b in streamed.in_order(4, world)] == [
        b.index.tolist() for b in resident.in_order(4, world)
    ]
    assert same(MetaLoader(streamed.normalised(), 0)(5), MetaLoader(resident, 0)(5))


def test_scaled_batches_are_those_of_a_resident_table(files):
    target = torch.arange(COUNT)
    streamed, resident = (make(input, target, MEAN, STD, resize_px=9)
                          for make, input in ((Streamed, files), (Resident, files.load())))  # fmt: skip
    assert same(streamed.batch(target), resident.batch(target)) and streamed.batch(target).input.shape[2:] == (9, 9)
    seen = streamed.augmented(Augment(flip=True), torch.Generator().manual_seed(0))
    assert seen.resize_px == 9 and seen.input.shape == (COUNT, 3, 6, 6)


@pytest.mark.parametrize("augment", [Augment(), Augment(flip=True, rotate_degrees=10, jitter=0.2)])
def test_training_batches_are_those_of_a_resident_table(both, augment):
    ours, theirs = (list(TrainLoader(data, 4, 5, augment).epoch(2)) for data in both)
    assert len(ours) == 3
    assert all(same(*pair) for pair in zip(ours, theirs, strict=True))
    mask = torch.arange(COUNT) % 2 == 0
    assert sorted(torch.cat([b.index for b in TrainLoader(both[0], 4, 5).epoch(2, mask)]).tolist()) == [
        0,
        2,
        4,
        6,
        8,
        10,
    ]


def test_crops_move_over_the_whole_image_and_do_not_depend_on_how_far_ahead_is_read(files, monkeypatch):
    part = ImageFiles(files.root, files.names, size=4, resize=6)
    data, whole = Streamed(part, torch.zeros(COUNT, dtype=torch.int64)), files.load()
    views = [batch.input for batch in TrainLoader(data, 4, 0, Augment(crop_px=1, flip=True)).epoch(1)]
    monkeypatch.setattr(stream, "AHEAD", 0)
    again = list(TrainLoader(data, 4, 0, Augment(crop_px=1, flip=True)).epoch(1))
    assert all(torch.equal(a, b.input) for a, b in zip(views, again, strict=True))
    windows = whole.unfold(2, 4, 1).unfold(3, 4, 1).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)  # [N, 9, C, 4, 4]
    seen = set()
    for batch in again:
        for row, view in zip(batch.index.tolist(), batch.input.to(torch.uint8)):
            hits = [i for i, w in enumerate(windows[row]) if torch.equal(w, view) or torch.equal(w.flip(-1), view)]
            assert len(hits) == 1
            seen.add(hits[0])
    assert len(seen) > 3


def test_a_rank_decodes_its_share_alone(both, monkeypatch):
    decoded = []
    decode = ImageFiles._decode
    monkeypatch.setattr(ImageFiles, "_decode", lambda self, row, *rest: decoded.append(row) or decode(self, row, *rest))
    world = World(rank=1, size=2)
    whole = TrainLoader(both[1], 4, 0).epoch(1)
    for ours, theirs in zip(TrainLoader(both[0], 4, 0, world=world).epoch(1), whole, strict=True):
        assert torch.equal(ours.index, theirs.index)
        assert torch.equal(world.share(ours.input), world.share(theirs.input))
    assert sorted(decoded) == sorted(
        row for batch in TrainLoader(both[1], 4, 0).epoch(1) for row in world.share(batch.index).tolist()
    )


def test_meta_batches_are_decoded_once_and_ahead(both, monkeypatch):
    decoded = []
    decode = ImageFiles._decode
    monkeypatch.setattr(ImageFiles, "_decode", lambda self, row, *rest: decoded.append(row) or decode(self, row, *rest))
    ours, theirs = (MetaLoader(data, 0) for data in both)
    used = []
    for size in (4, 4, 4, 4):  # two batches of a permutation of eleven, then of the next
        batch = ours(size)
        assert same(batch, theirs(size))
        used += batch.index.tolist()
    assert sorted(decoded) == sorted(used)
    for loader in (ours, theirs):
        loader.start(3)
    for size in (4, 3, 4):  # what was expected is not what is wanted
        assert same(ours(size), theirs(size))


def test_breaking_off_leaves_no_work_behind(both):
    batches = iter(TrainLoader(both[0], 2, 0).epoch(1))
    next(batches)
    batches.close()
    assert len(list(TrainLoader(both[0], 2, 0).epoch(1))) == 5  # a lone last row joins the batch before


def test_views_of_a_validation_set_are_held(both):
    ours, theirs = (data.augmented(Augment(flip=True, jitter=0.2), torch.Generator().manual_seed(1)) for data in both)
    assert isinstance(ours, Resident) and torch.equal(ours.input, theirs.input)
    assert same(ours.batch(torch.tensor([1, 2])), theirs.batch(torch.tensor([1, 2])))


def test_an_unreadable_image_stops_with_its_name(both, tmp_path):
    (tmp_path / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 4 images cannot be read: .*/5\.png"):
        list(both[0].in_order(4))
