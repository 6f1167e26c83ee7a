"""How training images may be varied. transforms.py does it; this is what a config says of it, and imports no torch."""

from dataclasses import dataclass


@dataclass
class AugmentOptions:
    """The schema of `train.augment`; all zeros leave the images as they are.

    Args:
        crop_px: shift by up to this many pixels in each direction, black beyond the border.
        flip: mirror left-right with probability 1/2.
        rotate_degrees: rotate by up to this angle, bilinear, black beyond the border.
        jitter: brightness and contrast factors from [1 - jitter, 1 + jitter].
        policy: AutoAugment's, null | cifar10 | imagenet | svhn (`autoaugment.POLICIES`), after the flip.
    """

    crop_px: int = 0
    flip: bool = False
    rotate_degrees: float = 0.0
    jitter: float = 0.0
    policy: str | None = None
