"""AutoAugment as batched operations on the images' device; each image has its own sub-policy."""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.support import host

POLICIES = ("cifar10", "imagenet", "svhn")
LEVELS = 10  # the policies' magnitudes are levels 0..9 of each operation's range


class Draw(NamedTuple):
    """The random draws for B images."""

    sub_policy: Tensor  # [B] int64
    chance: Tensor  # [B, 2] in [0, 1): a step is taken where this is below its probability
    sign: Tensor  # [B, 2], -1 or 1, for strengths that have a sign


def auto_augment(images: Tensor, policy: str, generator: torch.Generator) -> Tensor:
    """Applies to each image the two operations of a sub-policy drawn for it.

    Args:
        images: [B, C, H, W] uint8, C = 1 or 3.
        policy: the data that it was found on, one of `POLICIES`.
        generator: of the host, so that the number of images per operation is known without waiting for the device.
    Returns:
        [B, C, H, W] uint8. Moved pixels are the nearest ones; black outside the image.

    Source: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Policies from Data"; the policies' tables and the
    reading of each operation are torchvision's.
    """
    return augmented(images, policy, draw(policy, len(images), generator))


def draw(policy: str, count: int, generator: torch.Generator) -> Draw:
    """Random draws for `count` images."""
    sub_policy = torch.randint(len(sub_policies(policy)), (count,), generator=generator)
    chance = torch.rand(count, 2, generator=generator)
    return Draw(sub_policy, chance, 2.0 * torch.randint(2, (count, 2), generator=generator) - 1)


def augmented(images: Tensor, policy: str, drawn: Draw) -> Tensor:
    """`auto_augment` with given draws."""
    table = steps(policy, images.shape[2], images.shape[3])
    operation, probability, strength, signed = (column[drawn.sub_policy] for column in table)
    strength = torch.where(signed, strength * drawn.sign, strength)
    operation = torch.where(drawn.chance < probability, operation, len(OPERATIONS))  # the last one does nothing
    for step in range(2):  # images are sorted by operation, so that each operation runs once
        order = operation[:, step].argsort()
        counts = operation[:, step].bincount(minlength=len(OPERATIONS) + 1).tolist()
        there, back = host.send(torch.stack([order, order.argsort()]), images.device)
        amounts = host.send(strength[order, step].view(-1, 1, 1, 1), images.device)
        parts = zip(images.index_select(0, there).split(counts), amounts.split(counts))
        done = [
            apply(*part) if len(part[0]) else part[0] for apply, part in zip((*OPERATIONS.values(), _nothing), parts)
        ]
        images = torch.cat(done).index_select(0, back)  # a tenth of the time of indexing
    return images


@cache
def sub_policies(policy: str) -> list[tuple[tuple[str, float, int | None], ...]]:
    """Of each of its two steps: the operation's name, probability and level."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy  # takes a second to import

    return AutoAugment(AutoAugmentPolicy(policy)).policies


@cache
def steps(policy: str, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The steps of each sub-policy, [S, 2]: place in OPERATIONS, probability, strength, whether that has a sign."""
    places, ranges = {name: place for place, name in enumerate(OPERATIONS)}, strengths(height, width)

    def column(value: Callable[[str, float, int | None], float]) -> Tensor:
        return torch.tensor([[value(*step) for step in pair] for pair in sub_policies(policy)])

    return (
        column(lambda name, *_: places[name]),
        column(lambda _, probability, __: probability),
        column(lambda name, _, level: ranges[name][level or 0]),
        column(lambda name, *_: name in SIGNED),
    )


SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness")


def strengths(height: int, width: int) -> dict[str, list[float]]:
    """The strength of each level: slope, pixels, degrees, distance of the blending factor from 1, bits, threshold."""
    up_to = {
        "ShearX": 0.3,
        "ShearY": 0.3,
        "TranslateX": 150 / 331 * width,  # the paper's 150 px are of 331
        "TranslateY": 150 / 331 * height,
        "Rotate": 30.0,
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9),
    }
    ranges = {name: torch.linspace(0, most, LEVELS).tolist() for name, most in up_to.items()}
    ranges["Posterize"] = [8 - round(level * 4 / (LEVELS - 1)) for level in range(LEVELS)]
    ranges["Solarize"] = torch.linspace(255, 0, LEVELS).tolist()
    return ranges | dict.fromkeys(("AutoContrast", "Equalize", "Invert"), [0.0] * LEVELS)


# Operations: images [B, C, H, W] uint8 and the strength of each, [B, 1, 1, 1] -> images [B, C, H, W] uint8.


def shear_x(images: Tensor, slope: Tensor) -> Tensor:
    """About the upper left corner, as `shear_y`."""
    return _moved(images, lambda x, y: (x + slope * (y + images.shape[2] / 2), y))


def shear_y(images: Tensor, slope: Tensor) -> Tensor:
    return _moved(images, lambda x, y: (x, y + slope * (x + images.shape[3] / 2)))


def translate_x(images: Tensor, pixels: Tensor) -> Tensor:
    return _moved(images, lambda x, y: (x - pixels.trunc(), y))


def translate_y(images: Tensor, pixels: Tensor) -> Tensor:
    return _moved(images, lambda x, y: (x, y - pixels.trunc()))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """About the centre, counter-clockwise."""
    cos, sin = (degrees * (math.pi / 180)).cos(), (degrees * (math.pi / 180)).sin()
    return _moved(images, lambda x, y: (cos * x - sin * y, sin * x + cos * y))


def brightness(images: Tensor, amount: Tensor) -> Tensor:
    return _blended(images, 0, amount)


def color(images: Tensor, amount: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else _blended(images, _grey(images), amount)


def contrast(images: Tensor, amount: Tensor) -> Tensor:
    return _blended(images, _grey(images).float().mean(dim=(1, 2, 3), keepdim=True), amount)


def sharpness(images: Tensor, amount: Tensor) -> Tensor:
    """Blends with the image smoothed by 1/13 [1 1 1; 1 5 1; 1 1 1] inside its border."""
    if min(images.shape[2:]) < 3:
        return images
    smooth = images.float()
    rows = smooth[:, :, :-2] + smooth[:, :, 1:-1] + smooth[:, :, 2:]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * smooth[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = (sums / 13).round_()
    return _blended(images, smooth, amount)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the uppermost bits."""
    return images & (256 - 2 ** (8 - bits)).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts pixels from a threshold on."""
    return images ^ (images >= threshold.ceil().to(torch.uint8)).to(torch.uint8) * 255  # 255 - x is x ^ 255


def auto_contrast(images: Tensor, _: Tensor) -> Tensor:
    from torchvision.transforms.functional import autocontrast

    return autocontrast(images)


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Each channel's histogram made flat, with Pillow's whole-number arithmetic."""
    pixels = images.flatten(0, 1).flatten(1).long()  # [R = B C, H W]
    counts = pixels.new_zeros(len(pixels), 256).scatter_add_(1, pixels, torch.ones_like(pixels))
    brightest = counts.gather(1, pixels.amax(1, keepdim=True))
    step = (pixels.shape[1] - brightest) // 255
    before = counts.cumsum(1) - counts  # pixels darker than each grey
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step == 0, torch.arange(256, device=images.device), table).to(torch.uint8)
    return table.gather(1, pixels).view(images.shape)


def invert(images: Tensor, _: Tensor) -> Tensor:
    return 255 - images


def _nothing(images: Tensor, _: Tensor) -> Tensor:
    return images


OPERATIONS = {
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
    "Brightness": brightness,
    "Color": color,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": auto_contrast,
    "Equalize": equalize,
    "Invert": invert,
}


def _grey(images: Tensor) -> Tensor:
    from torchvision.transforms.functional import rgb_to_grayscale

    return rgb_to_grayscale(images)


def _blended(images: Tensor, other: Tensor | float, amount: Tensor) -> Tensor:
    """The image times 1 + amount and the other times -amount."""
    factor = 1 + amount.double()
    blend = images * factor.float() + other * (1 - factor).float()
    return blend.clamp_(0, 255).to(torch.uint8)


def _moved(images: Tensor, source: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """The pixel at (x, y) is taken from `source`(x, y), in pixels right of and below the centre; black outside."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = (torch.arange(height, device=images.device) - (height - 1) / 2).unsqueeze(1)
    column, row = source(x, y)
    size = (len(images), 1, height, width)
    grid = torch.cat([(column / (width / 2)).expand(size), (row / (height / 2)).expand(size)], dim=1)
    return F.grid_sample(images.float(), grid.permute(0, 2, 3, 1), "nearest", align_corners=False).to(torch.uint8)
