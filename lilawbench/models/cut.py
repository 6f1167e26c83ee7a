"""A linear probe cut in two: frozen features of an input, and logits of such features."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lilawbench.models.finetune import layers


class Cut(NamedTuple):
    """model(x) == logits(features(x)) as long as the frozen part is in eval mode."""

    features: Callable[[Tensor], Tensor]  # inputs [B, ...] -> input of the first trained layer
    logits: Callable[[Tensor], Tensor]  # features -> [B, K], through the last two layers alone


def cut(model: nn.Module) -> Cut | None:
    """Cuts a network before the first of its layers that train.

    For a ViT that classifies the class token, the features are that token alone: 768 numbers instead of 151,296.

    Returns:
        None for what cannot be cut here: a recurrent stack, a timm network that is not forward_features, ending in the
        first trained layer, followed by forward_head, or dropout before a head that trains alone.
    """
    *_, last = found = list(layers(model))
    layer = next(layer for layer in found if all(p.requires_grad for p in layer.parameters))
    first = layer.module
    if isinstance(first, nn.RNNBase):
        return None
    drop_rate: float = getattr(model, "drop_rate", 0.0)
    if layer is last and drop_rate > 0:
        return None
    rest = first.__call__ if layer is last else _rest(model, first, layer.norm)  # no module, which would be registered
    tokens = model.num_prefix_tokens if getattr(model, "global_pool", None) == "token" else None

    def features(input: Tensor) -> Tensor:
        reached = _input_of(first, model, input)
        return reached if tokens is None or reached.ndim == 2 else reached[:, :tokens]

    return None if rest is None else Cut(features, rest)


def fits(model: nn.Module, parts: Cut, input: Tensor) -> bool:
    """Whether the two parts give the logits of the whole on these inputs, in eval mode."""
    mode = model.training
    with torch.no_grad():
        try:
            model.eval()
            return torch.allclose(parts.logits(parts.features(input)), model(input), rtol=1e-5, atol=1e-5)
        except (RuntimeError, AttributeError, TypeError):
            return False
        finally:
            model.train(mode)


def _rest(model: nn.Module, first: nn.Module, norm: nn.Module | None) -> Callable[[Tensor], Tensor] | None:
    if isinstance(model, nn.Sequential):
        children = list(model)
        if first not in children:
            return None
        behind = children[children.index(first) :]
        return lambda features: functools.reduce(lambda value, module: module(value), behind, features)
    head: Callable[[Tensor], Tensor] | None = getattr(model, "forward_head", None)
    if head is not None and first is getattr(getattr(model, "pre_logits", None), "fc2", None):  # VGG's are in its head
        activation, last = model.get_submodule("pre_logits.act2"), model.get_submodule("head")
        return lambda features: last(activation(first(features)))
    if head is None:
        return None
    return lambda features: head(first(features) if norm is None else norm(first(features)))


class _Reached(Exception):
    """Carries a layer's input out of a forward pass, which ends there."""


def _input_of(layer: nn.Module, model: nn.Module, input: Tensor) -> Tensor:
    def stop(module: nn.Module, inputs: tuple[Tensor]) -> None:
        raise _Reached(inputs[0])

    handle = layer.register_forward_pre_hook(stop)
    try:
        type(model).forward(model, input)  # not the instance's, which may have been replaced by `logits`
    except _Reached as reached:
        return reached.args[0]
    finally:
        handle.remove()
    raise RuntimeError(f"the forward pass never reaches {type(layer).__name__}")
