"""FMix: masks of exact size, of low frequency, that depend on seed and epoch alone."""

import numpy as np
import pytest
import torch

from lilawbench.methods.parts.fmix import FMixer, binary_mask, grey_image


@pytest.mark.parametrize("decay", [0.0, 1.0, 3.0])
def test_power_falls_with_the_frequency(decay):
    """Amplitude f^-d is power f^-2d: over 200 images the slope of log power over log frequency is -2d, within .1.

    The columns of no and of the highest frequency across are left out: there a real image holds half of the noise.
    """
    generator = np.random.default_rng(0)
    power = np.mean([np.abs(np.fft.rfft2(grey_image(16, 16, decay, generator))) ** 2 for _ in range(200)], axis=0)
    frequency = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.rfftfreq(16)[None])
    slope, _ = np.polyfit(np.log(frequency[:, 1:-1].ravel()), np.log(power[:, 1:-1].ravel()), 1)
    assert slope == pytest.approx(-2 * decay, abs=0.1)


def test_a_mask_has_the_largest_grey_values():
    grey = np.array([[0.3, 0.9, 0.1], [0.5, 0.2, 0.4]])
    assert binary_mask(grey, 2).tolist() == [[False, True, False], [True, False, False]]
    assert [binary_mask(grey, count).sum() for count in range(7)] == list(range(7))


def test_the_share_is_that_of_the_mask_to_a_pixel(context):
    ctx, mixer = context(torch.nn.Linear(2, 2)), FMixer()
    found = []
    for epoch in (1, 2, 1):
        ctx.epoch = epoch
        mixer.start(ctx)
        torch.rand(epoch)  # no stream of torch is used
        found.append([mixer(5, 7, ctx.device) for _ in range(20)])
    for patches in found[0]:
        assert patches.mask.shape == (5, 7) and patches.share == patches.mask.sum().item() / 35
        ones, zeros = torch.ones(4, 3, 5, 7), torch.zeros(4, 3, 5, 7)
        torch.testing.assert_close(patches.blend(ones, zeros).mean((1, 2, 3)), torch.full((4,), patches.share))
    assert all(torch.equal(one.mask, other.mask) for one, other in zip(found[0], found[2]))
    assert [one.share for one in found[0]] != [one.share for one in found[1]]


@pytest.mark.parametrize("options, message", [({"alpha": 0.0}, "alpha is 0.0"), ({"decay": -1.0}, "decay is -1.0")])
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        FMixer(**options)
