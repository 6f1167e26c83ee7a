"""Batched augmentation against the same operation done by hand, one image at a time."""

import math

import pytest
import torch
from torch.nn import functional as F

from lilawbench.augment.transforms import Augment, Windows, rotate

PIXELS = torch.Generator().manual_seed(0)


def images(count, channels=1, height=6, width=8):
    """Random uint8 images without black pixels."""
    return torch.randint(1, 256, (count, channels, height, width), dtype=torch.uint8, generator=PIXELS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_zero_augmentation_is_identity():
    augment, batch = Augment(), images(5).float()
    assert not augment
    assert torch.equal(augment(batch, generator()), batch)
    raw = images(5)
    assert torch.equal(Windows(raw, 0)(torch.arange(5), generator()), raw)


@pytest.mark.parametrize(
    "options", [{"crop_px": 1}, {"flip": True}, {"rotate_degrees": 5.0}, {"jitter": 0.1}, {"policy": "svhn"}]
)
def test_any_option_switches_it_on(options):
    assert Augment(**options)


EVERYTHING = Augment(flip=True, rotate_degrees=20, jitter=0.3)


def test_views_depend_on_the_generator_alone():
    batch = images(64, channels=3).float()
    before = batch.clone()
    first = EVERYTHING(batch, generator(1))
    torch.rand(7)
    assert torch.equal(EVERYTHING(batch, generator(1)), first)
    assert not torch.equal(EVERYTHING(batch, generator(2)), first)
    assert torch.equal(batch, before)
    windows, rows = Windows(images(64), 2), torch.arange(64)
    assert torch.equal(windows(rows, generator(1)), windows(rows, generator(1)))
    assert not torch.equal(windows(rows, generator(1)), windows(rows, generator(2)))


@pytest.mark.parametrize("augment", [Augment(flip=True), Augment(rotate_degrees=30), Augment(jitter=0.4)])
def test_each_sample_has_its_own_parameters(augment):
    batch = images(1).float().expand(32, -1, -1, -1)
    views = augment(batch, generator())
    assert len({tuple(view.flatten().tolist()) for view in views}) >= (2 if augment.flip else 32)


def test_flip_mirrors_half_of_the_images():
    batch = images(4000).float()
    seen = Augment(flip=True)(batch, generator())
    mirrored = (seen == batch.flip(-1)).flatten(1).all(1)
    same = (seen == batch).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert abs(mirrored.sum().item() - 2000) <= 4 * math.sqrt(4000 / 4)


@pytest.mark.parametrize("channels, crop_px", [(1, 1), (3, 2)])
def test_crops_are_those_of_the_padded_image(channels, crop_px):
    raw = images(50, channels)
    rows = torch.arange(1000) % 50
    crops = Windows(raw, crop_px)(rows, generator())
    assert crops.dtype == torch.uint8 and crops.shape == (1000, channels, 6, 8)
    padded = F.pad(raw, (crop_px,) * 4)
    shifts = [(y, x) for y in range(2 * crop_px + 1) for x in range(2 * crop_px + 1)]
    by_hand = torch.stack([padded[rows, :, y : y + 6, x : x + 8] for y, x in shifts])
    matches = (by_hand == crops).flatten(2).all(2)  # [shift, crop]
    assert (matches.sum(0) == 1).all()
    expected = 1000 / len(shifts)
    assert (matches.sum(1) - expected).abs().max() <= 4 * math.sqrt(expected)  # every shift alike


def test_windows_take_rows_in_any_order():
    raw = images(10)
    assert torch.equal(Windows(raw, 0)(torch.tensor([7, 2, 7]), generator()), raw[[7, 2, 7]])


@pytest.mark.parametrize("quarter_turns", [-1, 0, 1, 2, 3])
def test_rotation_by_quarter_turns_of_a_square(quarter_turns):
    batch = images(4, channels=2, height=7, width=7).float()
    turned = rotate(batch, torch.full((4,), quarter_turns * math.pi / 2))
    torch.testing.assert_close(turned, torch.rot90(batch, quarter_turns, (2, 3)), rtol=0, atol=1e-2)


def test_rotation_of_an_oblong_image():
    """180 degrees is rot90 twice; 90 degrees is that of the image in a black square, cut back."""
    batch = images(4, height=6, width=10).float()
    half = rotate(batch, torch.full((4,), math.pi))
    torch.testing.assert_close(half, torch.rot90(batch, 2, (2, 3)), rtol=0, atol=1e-2)
    square = F.pad(batch, (0, 0, 2, 2))
    quarter = rotate(batch, torch.full((4,), math.pi / 2))
    torch.testing.assert_close(quarter, torch.rot90(square, 1, (2, 3))[:, :, 2:8], rtol=0, atol=1e-2)


def test_each_image_has_its_own_angle():
    batch = images(3, height=5, width=5).float()
    turned = rotate(batch, torch.tensor([0.0, math.pi / 2, math.pi]))
    for i in range(3):
        torch.testing.assert_close(turned[i], torch.rot90(batch[i], i, (1, 2)), rtol=0, atol=1e-2)


def test_rotation_angles_fill_the_range():
    """A bright pixel above the centre shows its image's angle, left = counter-clockwise."""
    batch = torch.zeros(400, 1, 65, 65)
    batch[:, :, 11:14, 31:34] = 255.0
    seen = Augment(rotate_degrees=30)(batch, generator())
    position = torch.arange(65.0) - 32
    mass = seen.sum(dim=(1, 2, 3))
    x = (seen.sum(dim=(1, 2)) * position).sum(1) / mass
    y = (seen.sum(dim=(1, 3)) * position).sum(1) / mass
    angles = torch.atan2(-x, -y).rad2deg()
    assert angles.abs().max() <= 30.5
    assert angles.min() < -28 and angles.max() > 28 and abs(angles.mean()) < 4 * 30 / math.sqrt(3 * 400)


def test_jitter_factors_stay_within_range():
    """Two grey levels 100 +- 10: the mean shows brightness, the spread over it contrast."""
    batch = torch.full((3000, 1, 2, 4), 90.0)
    batch[..., 2:] = 110.0
    seen = Augment(jitter=0.3)(batch, generator())
    brightness = seen.mean(dim=(1, 2, 3)) / 100
    contrast = (seen[..., 2:] - seen[..., :2]).mean(dim=(1, 2, 3)) / 20 / brightness
    for factor in (brightness, contrast):
        assert factor.min() >= 0.7 - 1e-4 and factor.max() <= 1.3 + 1e-4
        assert factor.min() < 0.71 and factor.max() > 1.29
    assert abs(torch.corrcoef(torch.stack([brightness, contrast]))[0, 1]) < 4 / math.sqrt(3000)


def test_jitter_stays_on_the_scale():
    batch = torch.tensor([0.0, 255.0]).repeat(200, 1, 4, 4)
    seen = Augment(jitter=0.9)(batch, generator())
    assert seen.min() == 0 and seen.max() == 255
