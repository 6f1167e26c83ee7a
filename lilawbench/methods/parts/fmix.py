"""FMix: images as patchworks of two, cut along random blobs of low spatial frequency."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lilawbench.methods.context import Context
from lilawbench.support import host
from lilawbench.support.seeding import derive


def grey_image(height: int, width: int, decay: float, generator: np.random.Generator) -> np.ndarray:
    """Random grey values, [height, width], whose amplitude at frequency f falls as f^-decay.

    Args:
        decay: >= 0; 0 is white noise, more makes larger blobs.
    Source: Harris et al. 2020 (FMix), section 4.1: Gaussian noise under a low-pass filter, back from frequencies. The
        mean, f = 0, is filtered as the lowest frequency of a longest side.
    """
    across, down = np.fft.rfftfreq(width), np.fft.fftfreq(height)
    frequency = np.hypot(down[:, None], across[None]).clip(min=1 / max(height, width))
    noise = generator.standard_normal((2, *frequency.shape))
    return np.fft.irfft2((noise[0] + 1j * noise[1]) / frequency**decay, s=(height, width))


def binary_mask(grey: np.ndarray, count: int) -> np.ndarray:
    """True at the `count` largest of grey values, [height, width] bool.

    Source: Harris et al. 2020 (FMix), eq. 5, with the number of pixels rounded beforehand.
    """
    mask = np.zeros(grey.size, dtype=bool)
    mask[np.argsort(grey, axis=None, kind="stable")[grey.size - count :]] = True
    return mask.reshape(grey.shape)


class Patchwork(NamedTuple):
    """How two images become one: the first where the mask is, the second elsewhere."""

    share: float  # of the pixels of the first
    mask: Tensor  # [H, W] bool

    def blend(self, rows: Tensor, others: Tensor) -> Tensor:
        """Images [B, C, H, W] of each pair of them."""
        return torch.where(self.mask, rows, others)


class FMixer:
    """Draws one mask a batch, for an epoch; `start` it in `on_epoch_start`.

    Args:
        alpha: share ~ Beta(alpha, alpha), > 0, then rounded to whole pixels. decay: see `grey_image`.
    Raises:
        ValueError: any of these out of range.
    Source: Harris et al. 2020 (FMix), section 4: alpha 1 and decay 3.
    """

    def __init__(self, alpha: float = 1.0, decay: float = 3.0):
        if not 0 < alpha < np.inf:
            raise ValueError(f"alpha is {alpha}; it must be > 0 and finite")
        if not 0 <= decay < np.inf:
            raise ValueError(f"decay is {decay}; it must be >= 0 and finite")
        self.alpha, self.decay = alpha, decay
        self.generator = np.random.default_rng(0)

    def start(self, ctx: Context) -> None:
        """Starts the stream of this epoch."""
        self.generator = derive(ctx.seed, "fmix", ctx.epoch)

    def __call__(self, height: int, width: int, device: torch.device) -> Patchwork:
        pixels = height * width
        kept = round(float(self.generator.beta(self.alpha, self.alpha)) * pixels)
        mask = binary_mask(grey_image(height, width, self.decay, self.generator), kept)
        return Patchwork(kept / pixels, host.send(torch.from_numpy(mask), device))
