"""Images as a network's weights want them: whose mean, std, size and interpolation, and that all of it is used."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from lilawbench.datasets.base import Source
from lilawbench.engine.scaling import pixels_of, scaled_for
from lilawbench.loading.resident import Resident
from lilawbench.methods.parts.fgsm import fgsm
from lilawbench.models.preprocessing import own_preprocessing
from lilawbench.record.identity import identity, run_name
from lilawbench.support.errors import ConfigError

LITE = ["dataset=fashion_mnist", "model=efficientnet_lite0"]


def source(channels=1):
    images = torch.arange(2 * channels * 64, dtype=torch.uint8).view(2, channels, 8, 8)
    labels = np.zeros(2, np.int64)
    return Source(images, labels, images, labels, ("a", "b"), (0.3,) * channels, (0.2,) * channels)


def test_weights_bring_their_own_preprocessing(composed, caplog):
    with caplog.at_level(logging.INFO, "lilawbench"):
        seen = scaled_for(composed(*LITE, "model.pretrained=true"), source())
    assert (seen.mean, seen.std, seen.resize_px, seen.interpolation) == ((0.5,) * 3, (0.5,) * 3, 224, "bicubic")
    assert seen.network_shape == (3, 224, 224)
    assert caplog.messages == [
        "images enter with mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5, scaled to 224 px, bicubic, grey as 3 channels: as "
        "the weights want them (timm, tf_efficientnet_lite0)"
    ]
    smaller = scaled_for(composed(*LITE, "model.pretrained=true", "train.resize_px=32"), source())
    assert smaller.network_shape == (3, 32, 32) and smaller.interpolation == "bicubic"


@pytest.mark.parametrize("options", [[], ["model.pretrained=true", "train.normalise=data"]], ids=["none", "data"])
def test_else_the_data_set_does(composed, options):
    for side, shape in (("null", (1, 8, 8)), ("9", (1, 9, 9))):
        seen = scaled_for(composed(*LITE, *options, f"train.resize_px={side}"), source())
        assert (seen.mean, seen.std, seen.interpolation, seen.network_shape) == ((0.3,), (0.2,), "bilinear", shape)


def test_rows_that_are_no_images_stay_as_they_are(composed):
    table = replace(source(), train_input=torch.zeros(2, 3), mean=None, std=None)
    assert scaled_for(composed(*LITE, "model.pretrained=true"), table) is table


def test_images_of_other_channels_are_refused(composed):
    with pytest.raises(ConfigError, match=r"weights for images of 3 channel.* has 2: train.normalise=data uses"):
        scaled_for(composed(*LITE, "model.pretrained=true"), source(channels=2))


def test_a_run_s_weights_want_what_it_had(composed, tmp_path):
    """Its preprocess.json lies beside them; without a scaled size, images were as large as they are there."""
    kept = {"mean": [0.1], "std": [0.4], "input_shape": [1, 28, 28], "resize_px": None}
    (tmp_path / "preprocess.json").write_text(json.dumps(kept))
    given = f"model.checkpoint={tmp_path}/best.safetensors"
    seen = scaled_for(composed(*LITE, given), source())
    assert (seen.mean, seen.std, seen.resize_px, seen.interpolation) == ((0.1,), (0.4,), 28, "bilinear")
    (tmp_path / "preprocess.json").write_text(json.dumps(kept | {"mean": None}))
    with pytest.raises(ConfigError, match=r"preprocess.json, .* cannot be used .*train.normalise=data does without"):
        scaled_for(composed(*LITE, given), source())


def test_a_network_s_own_size_and_an_interpolation_that_is_not_here(monkeypatch):
    node = {"architecture": "vit_small_patch16_224.augreg_in21k", "options": {"img_size": 48}}
    own = own_preprocessing(node)
    assert (own.size_px, own.mean, own.interpolation) == (48, (0.5,) * 3, "bicubic")
    assert own_preprocessing({"architecture": "resnet18"}).mean == (0.485, 0.456, 0.406)
    with pytest.raises(ValueError, match="Invalid pretrained tag"):
        own_preprocessing({"architecture": "resnet18.nobody"})


def test_grey_images_enter_as_equal_channels_each_with_its_own_scale():
    """(x / 255 - mean) / std by hand."""
    grey = source().train_input
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 1.0)
    data = Resident(grey, torch.zeros(2), mean, std)
    expected = torch.cat([(grey / 255 - m) / s for m, s in zip(mean, std)], 1)
    torch.testing.assert_close(data.batch(torch.tensor([0, 1])).input, expected)
    assert torch.equal(data.input, grey) and torch.equal(data.normalised().input, data.batch(torch.arange(2)).input)


def test_bicubic_scaling_stays_within_the_range_of_pixels():
    """The edge of a black and a white half overshoots by 7 % and is cut off; elsewhere it is torch's own."""
    halves = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    halves[..., 4:] = 255
    data = Resident(halves, torch.zeros(1), (0.5,), (0.5,), resize_px=16, interpolation="bicubic")
    free = torch.nn.functional.interpolate(halves / 127.5 - 1, size=(16, 16), mode="bicubic", antialias=True)
    assert free.max() > 1.01
    torch.testing.assert_close(data.batch(torch.tensor([0])).input, free.clamp(-1, 1))


def test_an_attack_in_pixels_is_as_large_as_it_says(composed):
    """eps .1 of a pixel in [0, 1] under the weights' std of .5 is .2 of the input; mid-grey moves by just that."""
    seen = scaled_for(composed(*LITE, "model.pretrained=true", "train.resize_px=8"), source())
    pixels = pixels_of(seen, torch.device("cpu"))
    middle = torch.zeros(1, 3, 8, 8)
    (moved,) = fgsm(lambda x: x.square().add(x).sum((1, 2, 3)), middle, [0.1], pixels=pixels)
    torch.testing.assert_close(moved, torch.full_like(middle, 0.2))
    (far,) = fgsm(lambda x: x.square().add(x).sum((1, 2, 3)), middle, [9.0], pixels=pixels)
    torch.testing.assert_close(far * 0.5 + 0.5, torch.ones_like(middle))


def test_only_runs_that_follow_their_weights_have_new_names(composed):
    """What normalise=data gives is what every run had, so its names are the old ones."""

    def name(*overrides):
        return run_name(composed(*LITE, *overrides))

    assert "normalise" not in (plain := identity(composed(*LITE)))["train"] and "rename" not in plain["model"]
    assert name() == name("train.normalise=data")
    follows, before = (name("model.pretrained=true", f"train.normalise={value}") for value in ("null", "data"))
    assert follows == name("model.pretrained=true", "train.normalise=weights") != before
    assert "normalise" not in identity(composed(*LITE, "model.pretrained=true", "train.normalise=data"))["train"]
