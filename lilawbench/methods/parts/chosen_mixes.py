"""Mixup and FMix among the chosen rows of a batch, whose number only the device knows."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from lilawbench.methods.context import Context
from lilawbench.methods.parts.fmix import FMixer
from lilawbench.methods.parts.mixing import Mixer


class Mixed(NamedTuple):
    """Inputs of which each is share * one chosen row + (1 - share) * another."""

    share: float
    first: Tensor  # [B] int64, places in the batch
    second: Tensor  # [B] int64
    counts: Tensor  # [B] bool: as many as rows are chosen; the rest repeats them, so that BatchNorm sees no other row
    input: Tensor  # [B, ...]


class ChosenMixes:
    """The mixes of an epoch; `start` it in `on_epoch_start`.

    Args:
        mixer: of rows of any kind. fmixer: of images, beside it; None: without.
    """

    def __init__(self, mixer: Mixer, fmixer: FMixer | None):
        self.mixer, self.fmixer = mixer, fmixer

    def start(self, ctx: Context) -> None:
        """Starts the streams of this epoch."""
        self.mixer.start(ctx)
        if self.fmixer is not None:
            self.fmixer.start(ctx)

    def __call__(self, input: Tensor, chosen: Tensor) -> Iterator[Mixed]:
        """Mixes of inputs [B, ...] by mixup, then of images [B, C, H, W] by FMix.

        Args:
            chosen: [B] bool; where it is False everywhere, no mix counts.
        """
        mix = self.mixer.among(chosen)
        yield Mixed(mix.share, mix.first, mix.partner, mix.weight > 0, mix(input))
        if self.fmixer is not None and input.ndim == 4:
            patches, mix = self.fmixer(input.shape[2], input.shape[3], input.device), self.mixer.among(chosen)
            blended = patches.blend(input[mix.first], input[mix.partner])
            yield Mixed(patches.share, mix.first, mix.partner, mix.weight > 0, blended)
