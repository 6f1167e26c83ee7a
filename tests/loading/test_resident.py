"""Rows that live on the device: normalised, scaled, in order, and seen once through views."""

import math

import pytest
import torch

from lilawbench.augment.transforms import Augment
from lilawbench.loading.resident import Resident

MEAN, STD = (0.3, 0.5), (0.2, 0.4)
PLAIN, VIEWS = Augment(), Augment(crop_px=1, flip=True, rotate_degrees=10, jitter=0.1)


def table(count):
    """Row i holds i in its first column and has the label i mod 3."""
    return Resident(torch.stack([torch.arange(count), -torch.arange(count)], 1).float(), torch.arange(count) % 3)


def pictures(count=20, mean=MEAN, std=STD):
    pixels = torch.randint(0, 256, (count, 2, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Resident(pixels, torch.arange(count) % 3, mean, std)


def test_uint8_images_are_normalised_per_channel():
    data = pictures()
    batch = data.batch(torch.tensor([3, 0]))
    mean, std = (torch.tensor(v).view(2, 1, 1) for v in (MEAN, STD))
    expected = (data.input[[3, 0]].double() / 255 - mean) / std
    assert batch.input.dtype == torch.float32 and data.input.dtype == torch.uint8
    torch.testing.assert_close(batch.input.double(), expected, rtol=0, atol=2e-6)


def test_table_rows_come_as_they_are_and_stay_so():
    data = table(5)
    before = data.input.clone()
    batch = data.batch(torch.tensor([4, 1]))
    assert batch.input[:, 0].tolist() == [4, 1] and batch.target.tolist() == [1, 1]
    batch.input.zero_()
    assert torch.equal(data.input, before)


@pytest.mark.parametrize("count, size, sizes", [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 512, [3]), (5, 4, [4, 1])])
def test_in_order_is_complete_and_in_order(count, size, sizes):
    batches = list(table(count).in_order(size))
    assert [len(batch.target) for batch in batches] == sizes
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(count))
    assert torch.cat([batch.input for batch in batches])[:, 0].tolist() == list(range(count))
    assert torch.equal(torch.cat([batch.target for batch in batches]), torch.arange(count) % 3)


def test_split_seen_once_through_views_is_fixed():
    data = pictures()
    seen, again = (data.augmented(VIEWS, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(seen.input, again.input) and not torch.equal(seen.input, data.input)
    assert seen.input.dtype == torch.uint8 and seen.input.shape == data.input.shape
    assert torch.equal(seen.target, data.target)
    mean, std = (torch.tensor(v).view(2, 1, 1) for v in (MEAN, STD))
    batch = seen.batch(torch.arange(20)).input
    torch.testing.assert_close(batch, (seen.input / 255 - mean) / std, rtol=0, atol=2e-6)
    same = data.augmented(PLAIN, torch.Generator())
    assert torch.equal(same.input, data.input)


def test_views_kept_as_uint8_are_rounded():
    """Grey 100 made up to 2 % brighter or darker stays 100 in the mean; cutting would make it 99.5."""
    pixels = torch.full((4000, 1, 2, 2), 100, dtype=torch.uint8)
    data = Resident(pixels, torch.zeros(4000, dtype=torch.int64), (0,), (1,))
    seen = data.augmented(Augment(jitter=0.02), torch.Generator().manual_seed(0)).input.double()
    assert abs(seen.mean() - 100) <= 4 * 2 / math.sqrt(3 * 4000)


def test_normalised_once_is_normalised_per_batch():
    images = torch.arange(3 * 16, dtype=torch.uint8).view(3, 1, 4, 4)
    data = Resident(images, torch.arange(3), (0.3,), (0.2,))
    rows = torch.tensor([2, 0])
    once, each = data.normalised().batch(rows), data.batch(rows)
    assert all(torch.equal(a, b) for a, b in zip(once.tensors(), each.tensors(), strict=True))
    table = Resident(torch.randn(3, 2), torch.arange(3))
    assert table.normalised() is table


def test_smaller_images_lose_no_pixel():
    """A chequered board halved is grey: between black and white, wherever the squares lie."""
    board = (torch.arange(8) + torch.arange(8).unsqueeze(1)) % 2 * 254
    data = Resident(board.to(torch.uint8).view(1, 1, 8, 8), torch.zeros(1), (0.0,), (1.0,), resize_px=4)
    grey = data.batch(torch.tensor([0])).input[0, 0, 1:-1, 1:-1]
    torch.testing.assert_close(grey, torch.full((2, 2), 127 / 255))


def test_views_of_uint8_images_are_those_of_float_ones():
    """Images stay uint8 as long as they can: the numbers of the arithmetic in float32 throughout."""
    raw = pictures(60).input
    for augment in (Augment(flip=True), VIEWS):
        ours, theirs = (augment(images, torch.Generator().manual_seed(1)).float() for images in (raw, raw.float()))
        assert torch.equal(ours, theirs)
