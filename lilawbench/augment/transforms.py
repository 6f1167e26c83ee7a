"""Batched augmentation with parameters per sample, on the images' device.

Random numbers are drawn on the host: a seed gives the same views on every device, and no step waits for them.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lilawbench.augment.autoaugment import auto_augment
from lilawbench.augment.options import AugmentOptions
from lilawbench.support import host


class Augment(AugmentOptions):
    """Random views of images; all zeros leave them as they are. Its options: see `AugmentOptions`."""

    def __bool__(self) -> bool:
        return bool(self.crop_px or self.flip or self.rotate_degrees or self.jitter or self.policy)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Flips, auto-augments, rotates and jitters images [B, C, H, W] uint8 (cropping is `Windows`').

        Args:
            generator: of the host.

        They stay uint8 as long as possible, a quarter of the memory traffic; rotation and jitter make them float32 in
        0..255.
        """
        if self.flip:
            chosen = _uniform(images, generator) < 0
            images = torch.where(chosen, images.flip(-1), images)
        if self.policy:
            images = auto_augment(images, self.policy, generator)
        if self.rotate_degrees or self.jitter:
            images = images.to(torch.float32)
        if self.rotate_degrees:
            images = rotate(images, _uniform(images, generator).flatten() * math.radians(self.rotate_degrees))
        if self.jitter:
            brightness = 1 + self.jitter * _uniform(images, generator)
            contrast = 1 + self.jitter * _uniform(images, generator)
            images = images * brightness
            centre = images.mean(dim=(1, 2, 3), keepdim=True)
            images = ((images - centre) * contrast + centre).clamp(0, 255)
        return images


class Windows:
    """All crops of padded images as one view: a batch of random crops is a single gather.

    Args:
        images: [N, C, H, W] uint8. crop_px: padding, and the largest shift.
    """

    def __init__(self, images: Tensor, crop_px: int):
        height, width = images.shape[-2:]
        self.crop_px, self.shifts = crop_px, 2 * crop_px + 1
        self.view = F.pad(images, (crop_px,) * 4).unfold(2, height, 1).unfold(3, width, 1)

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Crops [B, C, H, W] of the images in `rows` [B], each with its own shift."""
        dy, dx = host.send(torch.randint(self.shifts, (2, len(rows)), generator=generator), rows.device)
        return self.view[rows, :, dy, dx]


def rotate(images: Tensor, radians: Tensor) -> Tensor:
    """Rotates each image [B, C, H, W] about its centre by its own angle [B], counter-clockwise, bilinear."""
    height, width = images.shape[-2:]
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # grid coordinates run from -1 to 1 along both sides: the ratio keeps angles true on oblong images
    theta = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """One draw from [-1, 1) per image, [B, 1, 1, 1]."""
    return host.send(2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1, images.device)
