"""AutoAugment in batches against torchvision's, one image at a time."""

import math

import pytest
import torch
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from lilawbench.augment.autoaugment import (
    LEVELS,
    OPERATIONS,
    POLICIES,
    SIGNED,
    augmented,
    auto_augment,
    draw,
    strengths,
    sub_policies,
)
from lilawbench.augment.transforms import Augment

PLAIN = ("AutoContrast", "Equalize", "Invert")  # without a strength


SHEARS = ("ShearX", "ShearY")


def images(count, channels=3, height=18, width=20):
    """Random uint8 images of different ranges, large enough to equalise."""
    made = torch.Generator().manual_seed(0)
    low, high = torch.randint(0, 256, (2, count, channels, 1, 1), generator=made).sort(0).values
    noise = torch.rand(count, channels, height, width, generator=made)
    return (low + noise * (high - low)).to(torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def official(policy="cifar10"):
    """torchvision's, with the chance that it is given: one((sub-policy, chance, whether positive), image)."""
    transform = AutoAugment(AutoAugmentPolicy(policy))

    def one(params, image):
        transform.get_params = lambda transform_num: params
        return transform(image)

    return transform, one


@pytest.mark.every(4)
@pytest.mark.parametrize("name", list(OPERATIONS))
@pytest.mark.parametrize("channels", [1, 3])
def test_each_operation_is_torchvisions(name, channels):
    """To the last bit, all levels and signs in one batch; a shear by half a pixel may go either way."""
    transform, one = official()
    seen = images(40, channels)
    levels, positive = torch.arange(40) % LEVELS, torch.arange(40) % 4 < 2
    sign = torch.where(positive, 1.0, -1.0) if name in SIGNED else torch.ones(40)
    strength = torch.tensor(strengths(18, 20)[name])[levels] * sign
    ours = OPERATIONS[name](seen, strength.view(-1, 1, 1, 1))
    assert ours.dtype == torch.uint8
    theirs = []
    for image, level, plus in zip(seen, levels.tolist(), positive.long(), strict=True):
        transform.policies = [((name, 1.0, None if name in PLAIN else level), ("Invert", 0.0, None))]
        theirs.append(one((0, torch.tensor([0.5, 0.5]), torch.stack([plus, plus])), image))
    assert (ours != torch.stack(theirs)).float().mean() <= (0.02 if name in SHEARS else 0)
    assert (ours != seen).any() or (name, channels) == ("Color", 1)  # grey has no colour


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_is_torchvisions(policy, channels):
    _, one = official(policy)
    seen, drawn = images(100, channels), draw(policy, 100, generator())
    ours = augmented(seen, policy, drawn)
    params = zip(drawn.sub_policy.tolist(), drawn.chance, (drawn.sign > 0).long(), strict=True)
    theirs = torch.stack([one(given, image) for given, image in zip(params, seen, strict=True)])
    sheared = torch.tensor([any(name in SHEARS for name, *_ in pair) for pair in sub_policies(policy)])
    exact = ~sheared[drawn.sub_policy]
    assert torch.equal(ours[exact], theirs[exact]) and exact.sum() > 20
    assert (ours != theirs).float().mean() <= 0.02
    assert (ours != seen).flatten(1).any(1).float().mean() > 0.4


def test_tiny_images_and_flat_ones():
    """Nothing to smooth inside a border, no contrast to stretch, a histogram of one bar: left as they are."""
    flat, one = torch.full((2, 3, 2, 2), 77, dtype=torch.uint8), torch.full((2, 1, 1, 1), 0.9)
    for name in ("Sharpness", "AutoContrast", "Equalize"):
        assert torch.equal(OPERATIONS[name](flat, one), flat), name


def test_chance_is_even():
    drawn = draw("cifar10", 20_000, generator())
    counts = drawn.sub_policy.bincount(minlength=25)
    assert len(counts) == 25 and (counts - 800).abs().max() <= 4.5 * math.sqrt(800)
    assert abs(drawn.sign.mean(0)).max() < 4 / math.sqrt(20_000) and set(drawn.sign.unique().tolist()) == {-1, 1}
    for step in range(2):
        assert (drawn.chance[:, step].histc(10, 0, 1) - 2000).abs().max() <= 4.5 * math.sqrt(2000)
    assert abs(torch.corrcoef(drawn.chance.T)[0, 1]) < 4 / math.sqrt(20_000)


def test_a_step_is_taken_with_its_probability():
    """CIFAR-10's last sub-policy but two is Invert .1 after Equalize .8: of its black-and-white images .1 change."""
    seen = torch.tensor([0, 255], dtype=torch.uint8).repeat(4000, 1, 4, 4)
    drawn = draw("cifar10", 4000, generator())._replace(sub_policy=torch.full((4000,), 23))
    inverted = (augmented(seen, "cifar10", drawn) == 255 - seen).flatten(1).all(1)
    assert abs(inverted.float().mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 4000)


def test_each_image_has_its_own_view_by_the_generator_alone():
    seen = images(1).expand(200, -1, -1, -1)
    before, stream = seen.clone(), torch.get_rng_state()
    views = auto_augment(seen, "cifar10", generator(1))
    assert len({tuple(view.flatten().tolist()) for view in views}) > 40
    assert torch.equal(views, auto_augment(seen, "cifar10", generator(1)))
    assert not torch.equal(views, auto_augment(seen, "cifar10", generator(2)))
    assert torch.equal(seen, before) and torch.equal(torch.get_rng_state(), stream)


def test_the_policy_comes_after_the_flip_and_before_the_rest():
    """What is drawn for the flip does not depend on it."""
    seen, stream = images(50), generator(4)
    expected = auto_augment(Augment(flip=True)(seen, stream), "svhn", stream)
    assert torch.equal(Augment(flip=True, policy="svhn")(seen, generator(4)), expected)
    rest = Augment(rotate_degrees=20, jitter=0.2)
    ours = Augment(flip=True, policy="svhn", rotate_degrees=20, jitter=0.2)(seen, generator(4))
    assert torch.equal(ours, rest(expected, stream)) and ours.dtype == torch.float32
