"""Image networks from timm."""

import difflib
import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from lilawbench.models.packaged import packaged_weights
from lilawbench.models.weights import BY_SHAPE, load_weights, published_weights
from lilawbench.support.plain import Tree


def timm_model(
    num_classes: int,
    input_shape: Sequence[int],
    architecture: str = "resnet18",
    pretrained: bool = False,
    checkpoint: str | None = None,
    rename: str | None = None,
    options: Mapping[str, Tree] | None = None,
) -> nn.Module:
    """Any timm architecture, fitted to the images as timm does: in_chans, and img_size where a network has a fixed one.

    A ViT pads images to whole patches: 28 px are four patches of 16.

    Args:
        num_classes: outputs K. input_shape: [C, H, W].
        architecture: timm's name, with or without the tag of its published weights.
        pretrained: start from published weights, adapted as `load_weights` says: those of an installed package
            (`packaged_weights`), else timm's (`published_weights`).
        checkpoint: start from a local file instead.
        rename: "by_shape", where the file's names are foreign ones; see `load_weights`.
        options: further arguments of timm's constructor, such as {"drop_rate": 0.1}.
    Raises:
        ValueError: the input is not an image or too small for the network; timm knows no such architecture or option;
            the weights cannot be found or do not fit.
    """
    if len(input_shape) != 3:
        raise ValueError(f"{architecture} needs images [C, H, W], not {list(input_shape)}")
    if pretrained and checkpoint is not None:
        raise ValueError(f"pretrained is true and checkpoint {checkpoint}; give one of them")
    if rename not in (None, BY_SHAPE):
        raise ValueError(f"rename is {rename!r}; it must be null or {BY_SHAPE}")
    import timm  # takes half a second to import

    if not timm.is_model(architecture):
        near = ", ".join(difflib.get_close_matches(architecture, timm.list_models(), n=6)) or "see timm.list_models()"
        raise ValueError(f"timm has no architecture {architecture!r}; near it: {near}")
    try:
        known = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError as error:
        family = architecture.split(".")[0]
        tags = ", ".join(timm.list_pretrained(f"{family}.*")) or "none"
        raise ValueError(f"{error} The published weights of {family}: {tags}") from error
    if known is None:
        raise ValueError(f"timm describes no architecture {architecture!r}")
    arguments: dict[str, Tree] = {"num_classes": num_classes, "in_chans": input_shape[0], **(options or {})}
    if known.fixed_input_size:
        image, whole = tuple(input_shape[1:]), _whole_patches(architecture, input_shape[1:])
        padded = {"dynamic_img_size": True, "dynamic_img_pad": True} if whole != image else {}
        arguments = {"img_size": whole, **padded, **arguments}
    packaged = packaged_weights(architecture) if pretrained else None
    weights = packaged or (published_weights(known) if pretrained else checkpoint)
    try:
        model = timm.create_model(architecture, **arguments)
    except TypeError as error:
        given = dict(options or {})
        raise ValueError(f"options is {given}, which timm's {architecture} does not take: {error}") from error
    if weights is not None:
        load_weights(model, weights, BY_SHAPE if packaged else rename, show=packaged is None)
    _check_size(model, architecture, input_shape, known.input_size)
    return model


def _whole_patches(architecture: str, image: Sequence[int]) -> tuple[int, ...]:
    """The image's sides rounded up to whole patches, whose size is part of timm's names: no pixel is cut off."""
    found = re.search(r"patch(\d+)", architecture)
    patch = int(found[1]) if found else 1
    return tuple(-(-side // patch) * patch for side in image)


def _check_size(model: nn.Module, architecture: str, shape: Sequence[int], usual: Sequence[int]) -> None:
    """One image goes through where it is smaller than usual: a pooling may have nothing left to pool."""
    if min(shape[1:]) >= min(usual[1:]):
        return
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *shape))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"images of {shape[1]}x{shape[2]} pixels are too small for {architecture}, which was made for "
            f"{usual[1]}x{usual[2]} ({error})"
        ) from error
    finally:
        model.train()
