"""The order in which rows train: shuffled batches of an epoch, endless validation batches."""

import pytest
import torch
from torch.nn import functional as F

from lilawbench.augment.transforms import Augment
from lilawbench.loading.batches import MetaLoader, TrainLoader
from lilawbench.loading.resident import Resident

MEAN, STD = (0.3, 0.5), (0.2, 0.4)
PLAIN, VIEWS = Augment(), Augment(crop_px=1, flip=True, rotate_degrees=10, jitter=0.1)


def table(count):
    """Row i holds i in its first column and has the label i mod 3."""
    return Resident(torch.stack([torch.arange(count), -torch.arange(count)], 1).float(), torch.arange(count) % 3)


def pictures(count=20, mean=MEAN, std=STD):
    pixels = torch.randint(0, 256, (count, 2, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Resident(pixels, torch.arange(count) % 3, mean, std)


def drawn(batches):
    """Row numbers per batch."""
    return [batch.index.tolist() for batch in batches]


def all_rows(batches):
    """Row numbers in the order drawn."""
    return [row for rows in drawn(batches) for row in rows]


def assert_rows_fit(batch):
    """Index, input and target of a batch of `table` name the same rows."""
    assert torch.equal(batch.input[:, 0].long(), batch.index)
    assert torch.equal(batch.target, batch.index % 3)


@pytest.mark.parametrize(
    "count, size, sizes",
    [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (9, 4, [4, 5]), (5, 4, [5]), (3, 4, [3]), (1, 4, [1]), (3, 1, [1, 1, 1])],
)
def test_a_lone_last_row_joins_the_batch_before(count, size, sizes):
    loader = TrainLoader(table(count), size, seed=0)
    batches = list(loader.epoch(1))
    assert [len(batch.target) for batch in batches] == sizes and len(loader) == len(loader.epoch(1)) == len(sizes)
    assert sorted(all_rows(batches)) == list(range(count))
    assert drawn(batches) == [rows.tolist() for rows in loader.rows(1)]
    for batch in batches:
        assert_rows_fit(batch)


def test_order_depends_on_seed_and_epoch_alone():
    data = pictures(50)

    def order(seed=0, epoch=1, size=8, augment=PLAIN):
        return all_rows(TrainLoader(data, size, seed, augment).epoch(epoch))

    first = order()
    torch.rand(3)
    assert order() == order(size=50) == order(augment=VIEWS) == first
    assert first != list(range(50))
    assert len({tuple(o) for o in (first, order(epoch=2), order(seed=1), order(seed=1, epoch=2))}) == 4


def test_an_epoch_does_not_depend_on_those_before():
    loader = TrainLoader(pictures(), 4, seed=0, augment=VIEWS)
    list(loader.epoch(1))
    resumed = TrainLoader(pictures(), 4, seed=0, augment=VIEWS)
    for ours, theirs in zip(loader.epoch(2), resumed.epoch(2), strict=True):
        assert torch.equal(ours.input, theirs.input) and torch.equal(ours.index, theirs.index)


def test_loaders_leave_the_global_stream_alone():
    before = torch.get_rng_state()
    list(TrainLoader(pictures(), 4, seed=0, augment=VIEWS).epoch(1))
    MetaLoader(pictures(), seed=0)(7)
    assert torch.equal(torch.get_rng_state(), before)


def test_augmented_epoch_changes_pixels_only():
    data = pictures(60)
    loader = TrainLoader(data, 8, seed=0, augment=VIEWS)
    plain = torch.cat([b.input for b in TrainLoader(data, 8, seed=0).epoch(1)])
    batches = list(loader.epoch(1))
    first = torch.cat([b.input for b in batches])
    assert torch.equal(torch.cat([b.target for b in batches]), torch.cat([b.index for b in batches]) % 3)
    assert ((first != plain).flatten(1).any(1)).float().mean() > 0.9
    black = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)])
    torch.testing.assert_close(first.amin(dim=(0, 2, 3)), black)  # 0 before normalisation, not after


def test_views_differ_from_epoch_to_epoch():
    """One image many times: whatever the order, only its views can differ."""
    data = Resident(pictures(1).input.expand(16, -1, -1, -1), torch.zeros(16, dtype=torch.int64), MEAN, STD)
    loader = TrainLoader(data, 16, seed=0, augment=VIEWS)
    first, again, second = (next(iter(loader.epoch(epoch))).input for epoch in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_a_crop_of_the_loader_is_normalised_like_any_pixel():
    """Flat images: away from the border every pixel keeps its normalised value."""
    data = Resident(torch.full((6, 1, 5, 5), 51, dtype=torch.uint8), torch.zeros(6, dtype=torch.int64), (0.1,), (0.5,))
    for batch in TrainLoader(data, 3, seed=0, augment=Augment(crop_px=1)).epoch(1):
        torch.testing.assert_close(batch.input[:, :, 1:4, 1:4], torch.full((3, 1, 3, 3), (0.2 - 0.1) / 0.5))


def test_meta_batches_hold_no_row_twice_and_use_every_row():
    meta = MetaLoader(table(10), seed=0)
    for start in range(0, 40, 10):
        pair = [meta(5), meta(5)]
        assert sorted(all_rows(pair)) == list(range(10)), start
        for batch in pair:
            assert_rows_fit(batch)
    for size in [3, 7, 4, 4, 9, 1, 10]:
        rows = meta(size).index.tolist()
        assert len(rows) == len(set(rows)) == size


def uneven(sizes: list[int]) -> Resident:
    """Row i holds i; classes of these sizes, mixed."""
    target = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    target = target[torch.randperm(len(target), generator=torch.Generator().manual_seed(0))]
    return Resident(torch.arange(len(target)).float()[:, None], target)


def test_balanced_epochs_have_as_many_of_each_class_as_there_are():
    data = uneven([50, 8, 30])
    loader = TrainLoader(data, 16, seed=0, balanced_samples=45)
    epochs = [torch.tensor(all_rows(loader.epoch(number))) for number in (1, 2)]
    for rows in epochs:
        assert data.target[rows].bincount().tolist() == [15, 8, 15] and len(rows.unique()) == 38
    assert len(loader) == len(loader.epoch(1)) == 3 == len(loader.rows(1))
    assert set(epochs[0].tolist()) != set(epochs[1].tolist())
    again = TrainLoader(data, 16, seed=0, balanced_samples=45)
    assert all_rows(again.epoch(2)) == epochs[1].tolist()


def test_balanced_epochs_of_some_rows():
    data = uneven([50, 8, 30])
    mask = torch.arange(88) < 44
    loader = TrainLoader(data, 5, seed=0, balanced_samples=12)
    rows = torch.tensor(all_rows(loader.epoch(1, mask)))
    held = data.target[:44].bincount(minlength=3)
    assert (rows < 44).all() and data.target[rows].bincount().tolist() == held.clamp(max=4).tolist()
    assert len(loader.epoch(1, mask)) == len(loader.rows(1, mask)) == 3


def test_meta_batch_is_no_larger_than_the_validation_set():
    meta = MetaLoader(table(10), seed=0)
    assert sorted(meta(64).index.tolist()) == list(range(10))
    assert len(meta(64).target) == 10


def test_meta_batches_restart_with_the_epoch():
    meta, other = MetaLoader(table(30), seed=0), MetaLoader(table(30), seed=1)

    def epoch(loader, number):
        loader.start(number)
        return drawn(loader(8) for _ in range(9))

    first, second = epoch(meta, 1), epoch(meta, 2)
    meta(20)
    assert epoch(meta, 1) == first and epoch(meta, 2) == second
    assert first != second and epoch(other, 1) != first
    assert len({tuple(rows) for rows in first}) == 9


@pytest.mark.parametrize("side", [3, 9])
def test_images_are_scaled_batch_by_batch_as_by_interpolate(side):
    """In training, evaluation and the meta step alike; they are held at their own size."""
    plain = pictures()
    data = Resident(plain.input, plain.target, MEAN, STD, resize_px=side)
    rows = torch.tensor([3, 0])

    def scaled(images):
        return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)

    assert data.normalised() is data and data.input.shape == (20, 2, 4, 5)
    assert torch.equal(data.batch(rows).input, scaled(plain.batch(rows).input))
    for ours, theirs in zip(data.in_order(8), plain.in_order(8), strict=True):
        assert torch.equal(ours.input, scaled(theirs.input)) and torch.equal(ours.target, theirs.target)
    for augment in (PLAIN, VIEWS):
        batches = (TrainLoader(table, 8, seed=0, augment=augment).epoch(1) for table in (data, plain))
        for ours, theirs in zip(*batches, strict=True):
            assert torch.equal(ours.input, scaled(theirs.input))
    seen, once = (table.augmented(VIEWS, torch.Generator().manual_seed(3)) for table in (data, plain))
    assert torch.equal(seen.batch(rows).input, scaled(once.batch(rows).input))
    assert MetaLoader(data.normalised(), 0)(7).input.shape == (7, 2, side, side)


def test_an_epoch_through_a_policy():
    data = Resident(pictures(40).input[:, :1], torch.arange(40) % 3, (0.3,), (0.2,))
    loader = TrainLoader(data, 8, seed=0, augment=Augment(crop_px=1, policy="cifar10"))
    first, again, second = (torch.cat([b.input for b in loader.epoch(number)]) for number in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, second) and first.shape == (40, 1, 4, 5)
    plain = torch.cat([b.input for b in TrainLoader(data, 8, seed=0, augment=Augment(crop_px=1)).epoch(1)])
    assert 0.5 < (first != plain).flatten(1).any(1).float().mean() < 1
