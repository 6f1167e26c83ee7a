"""Options of image augmentation, without torch; transforms.py applies them."""

from dataclasses import dataclass


@dataclass
class AugmentOptions:
    """The schema of `train.augment`; all zeros leave the images as they are.

    Args:
        crop_px: shift by up to this many pixels in each direction, black outside the image.
        flip: mirror left-right with probability 1/2.
        rotate_degrees: rotate by up to this angle, bilinear, black outside the image.
        jitter: brightness and contrast factors from [1 - jitter, 1 + jitter].
        policy: AutoAugment's, null | cifar10 | imagenet | svhn (`autoaugment.POLICIES`), after the flip.
    """

    crop_px: int = 0
    flip: bool = False
    rotate_degrees: float = 0.0
    jitter: float = 0.0
    policy: str | None = None
