"""Mixup and FMix among the chosen rows of a batch, whose number only the device knows."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lilawbench.methods.context import Context
from lilawbench.methods.fmix import FMixer
from lilawbench.methods.mixing import Mixer


class Mixed(NamedTuple):
    """Inputs of which each is share * one row + (1 - share) * another."""

    share: float
    first: Tensor  # [B] int64, places in the batch
    second: Tensor  # [B] int64
    input: Tensor  # [B, ...]


def pairs(chosen: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows are mixed with which, among the chosen alone.

    Args:
        chosen: c of the rows, [B] bool. partner: [B] int64, any permutation.
    Returns:
        Two lists of rows, [B] int64: the first c of one are the chosen rows, those of the other a permutation of them.
        The rest repeats these pairs, so that BatchNorm sees chosen rows alone; if there is none, one row.
    """
    place = torch.arange(len(chosen), device=chosen.device) % chosen.sum().clamp(min=1)
    first = chosen.logical_not().to(torch.uint8).argsort(stable=True)
    second = (partner + len(chosen) * chosen.logical_not()).argsort()
    return first[place], second[place]


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
        """One mix of inputs [B, ...] by mixup, and one of images [B, C, H, W] by FMix; the first c rows are to count.

        Args:
            chosen: c of the rows, [B] bool.
        """
        mix = self.mixer(len(input), input.device)
        first, second = pairs(chosen, mix.partner)
        yield Mixed(mix.share, first, second, torch.lerp(input[second], input[first], mix.share))
        if self.fmixer is not None and input.ndim == 4:
            patches = self.fmixer(len(input), input.shape[2], input.shape[3], input.device)
            first, second = pairs(chosen, patches.partner)
            yield Mixed(patches.share, first, second, patches.blend(input[first], input[second]))
