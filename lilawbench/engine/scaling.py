"""How images enter a network: by the mean and std of their data set, or as the network's first weights want."""

import logging
from dataclasses import replace

import torch
from omegaconf import DictConfig

from lilawbench.datasets.base import Source
from lilawbench.methods.parts.fgsm import Pixels
from lilawbench.models.preprocessing import follows_weights, has_weights, own_preprocessing
from lilawbench.support.errors import ConfigError

log = logging.getLogger("lilawbench")


def scaled_for(cfg: DictConfig, source: Source) -> Source:
    """The source with the mean, std, size and interpolation of a run, said in a line where its network has weights.

    As weights want it (`train.normalise`): a grey image enters as many equal channels as they have, each with its own
    mean and std; the whole image is scaled to their size, or to `train.resize_px`, and nothing is cut off.

    Raises:
        ConfigError: the weights are for images of other channels, or what they want is not known.
    """
    if not source.is_image or source.mean is None:
        return source
    given = replace(source, resize_px=cfg.train.resize_px)
    if not follows_weights(cfg):
        if has_weights(cfg.model):
            log.info("images enter with %s: train.normalise=data, the data set's own", _described(given))
        return given
    try:
        own = own_preprocessing(cfg.model)
    except ValueError as error:
        raise ConfigError([f"model={cfg.model.name}: {error}"]) from error
    channels = source.input_shape[0]
    if channels not in (1, len(own.mean)):
        raise ConfigError(
            [
                f"model={cfg.model.name} has weights for images of {len(own.mean)} channel(s) ({own.origin}), and "
                f"dataset={cfg.dataset.name} has {channels}: train.normalise=data uses the data set's own mean and std"
            ]
        )
    side = own.size_px if cfg.train.resize_px is None else cfg.train.resize_px
    side = None if source.input_shape[1:] == (side, side) else side
    wanted = replace(source, mean=own.mean, std=own.std, resize_px=side, interpolation=own.interpolation)
    grey = f", grey as {len(own.mean)} channels" if channels < len(own.mean) else ""
    log.info("images enter with %s%s: as the weights want them (%s)", _described(wanted), grey, own.origin)
    return wanted


def _described(source: Source) -> str:
    mean, std = (", ".join(f"{value:.4g}" for value in values or ()) for values in (source.mean, source.std))
    scaled = f"scaled to {source.resize_px} px, {source.interpolation}"
    return f"mean {mean}, std {std}, {'at their own size' if source.resize_px is None else scaled}"


def pixels_of(source: Source, device: torch.device) -> Pixels | None:
    """How the data set's images enter a network; None: it has none."""
    if not source.is_image or source.mean is None:
        return None
    return Pixels(*(torch.tensor(values, device=device).view(-1, 1, 1) for values in (source.mean, source.std)))
