"""How a network's first weights want their images: mean, std, size and interpolation. Needs no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lilawbench.support.plain import Tree

FILE = "preprocess.json"  # of a finished run, beside its weights
IMAGE_MODELS = ("lilawbench.models.image.timm_model", "lilawbench.models.dense_head.with_dense")
INTERPOLATIONS = ("bilinear", "bicubic")


class Preprocessing(NamedTuple):
    """What the weights were trained on."""

    mean: tuple[float, ...]  # per channel, on the 0..1 scale
    std: tuple[float, ...]
    size_px: int | None  # side of the images; None: they were not square
    interpolation: str  # one of INTERPOLATIONS
    origin: str  # who says so


def has_weights(model: Mapping[str, Tree]) -> bool:
    """Whether a model's node starts from weights that come with their own preprocessing."""
    return model.get("_target_") in IMAGE_MODELS and (bool(model.get("pretrained")) or bool(model.get("checkpoint")))


def follows_weights(cfg: Mapping[str, Tree]) -> bool:
    """Whether images enter as the weights want them (`train.normalise`), and not as the data set says."""
    asked = cfg["train"].get("normalise")
    return has_weights(cfg["model"]) if asked is None else asked == "weights"


def own_preprocessing(model: Mapping[str, Tree]) -> Preprocessing:
    """What the first weights of a model want: of a finished run, what it has kept beside them; else what timm says of
    the architecture. A side in `options.img_size` is the network's own and goes before timm's.

    Args:
        model: the node of one with `has_weights`.
    Raises:
        ValueError: the kept file cannot be used, or timm knows no such architecture.
    """
    checkpoint, architecture = model.get("checkpoint"), str(model.get("architecture", "resnet18"))
    if checkpoint and (kept := Path(checkpoint).expanduser().parent / FILE).is_file():
        return _kept(kept)
    import timm

    try:
        known = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    if known is None:
        raise ValueError(f"timm describes no architecture {architecture!r}")
    side = (model.get("options") or {}).get("img_size", known.input_size[-1])
    way = known.interpolation if known.interpolation in INTERPOLATIONS else "bicubic"
    return Preprocessing(
        tuple(known.mean), tuple(known.std), side if isinstance(side, int) else None, way, f"timm, {architecture}"
    )


def _kept(path: Path) -> Preprocessing:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        mean, std = ([float(value) for value in found[key]] for key in ("mean", "std"))
        shape, side = found["input_shape"], found["resize_px"]
        if side is None and shape[-1] == shape[-2]:
            side = int(shape[-1])
        return Preprocessing(tuple(mean), tuple(std), side, found.get("interpolation", "bilinear"), str(path))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path}, which says how the weights beside it want their images, cannot be used ({type(error).__name__}: "
            f"{error}); train.normalise=data does without"
        ) from error
