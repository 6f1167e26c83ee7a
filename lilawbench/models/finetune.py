"""Which weights train: all of them, or those of the last layers with the rest frozen (a linear probe)."""

import logging
import re
from collections.abc import Iterator, Sequence
from types import MethodType
from typing import NamedTuple

import torch
from torch import Tensor, nn

TRAINED_LAYERS = {"full": None, "linear_probe": 2, "head": 1}  # how many of the last ones; None: all
BLOCK = re.compile("Block|Bottleneck|Residual")  # in the class name of a residual or transformer block
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)

log = logging.getLogger("lilawbench")


class Layer(NamedTuple):
    """A parameterised layer: its module, the BatchNorm that goes with it, and the parameters of both."""

    module: nn.Module
    parameters: list[nn.Parameter]
    norm: nn.Module | None = None


def finetune(model: nn.Module, mode: str) -> nn.Module:
    """Freezes what `mode` does not train, in place.

    "linear_probe" trains the last two parameterised layers (`layers`), "head" the last alone: of a convolutional
    network that is a fraction of the work, and of the features. Everything before them is frozen: no gradient, and
    eval mode whatever model.train() says, so that BatchNorm statistics stay and dropout is off. Later modules without
    parameters, such as dropout before the head of two layers, follow model.train() as usual.

    Args:
        mode: full | linear_probe | head.
    Returns:
        The model.
    Raises:
        ValueError: another mode.
    Source: LiLAW, appendix A.9 ("linear probing on the last two layers"). Deviations: "head" is ours.
    """
    if mode not in TRAINED_LAYERS:
        raise ValueError(f"finetune is {mode!r}; it must be one of {list(TRAINED_LAYERS)}")
    count = TRAINED_LAYERS[mode]
    if count is None:
        return model
    trained = list(layers(model))[-count:]
    model.requires_grad_(False)
    for layer in trained:
        for parameter in layer.parameters:
            parameter.requires_grad_()
    first = trained[0].module
    for module in frozen_modules(model, first):
        module.eval()
        module.train = MethodType(_stay, module)  # type: ignore[method-assign]  # of this module alone
    if isinstance(first, nn.RNNBase):
        first.dropout = 0.0  # between its levels, all but the last of which are frozen; cudnn wants it in train mode
    names = [name for name, module in model.named_modules() if any(module is layer.module for layer in trained)]
    some, total = (sum(p.numel() for p in model.parameters() if p.requires_grad or every) for every in (False, True))
    verb = "train" if len(names) > 1 else "trains"
    log.info("linear probe: %s %s, %s of %s parameters", " and ".join(names), verb, f"{some:,}", f"{total:,}")
    return model


def layers(model: nn.Module) -> Iterator[Layer]:
    """The parameterised layers in their order in the network, which is that of registration.

    A residual or transformer block is one layer; a BatchNorm belongs to the convolution or dense layer before it; each
    level of a stacked recurrent module is a layer. So the last two are the final norm and the head of a ViT, the last
    block and the head of a ResNet, the last two dense layers of an MLP.
    """
    last: Layer | None = None
    for module in _units(model):
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and last and isinstance(last.module, WEIGHTED):
            last = Layer(last.module, [*last.parameters, *module.parameters()], module)
            continue
        if last:
            yield last
        if isinstance(module, nn.RNNBase):
            levels = [_level(module, level) for level in range(module.num_layers)]
            yield from levels[:-1]
            last = levels[-1]
        else:
            last = Layer(module, list(module.parameters()))
    if last:
        yield last


def frozen_modules(model: nn.Module, first: nn.Module) -> list[nn.Module]:
    """The modules before `first` in the network; modules that contain it are left out."""
    before = []
    for module in model.modules():
        if module is first:
            break
        if all(inner is not first for inner in module.modules()):
            before.append(module)
    return before


def frozen_state(model: nn.Module) -> dict[str, Tensor]:
    """What a linear probe leaves as it is, by its name in state_dict: frozen weights, buffers of frozen modules."""
    trained = {name.rsplit(".", 1)[0] for name, p in model.named_parameters() if p.requires_grad}
    return {
        name: value
        for name, value in model.state_dict(keep_vars=True).items()
        if not value.requires_grad and (isinstance(value, nn.Parameter) or name.rsplit(".", 1)[0] not in trained)
    }


def share_frozen(models: Sequence[nn.Module]) -> Sequence[nn.Module]:
    """Gives linear probes of one architecture the frozen part of the first, pretrained or random, by value.

    Their last layers stay as each one's seed has drawn them. Networks without frozen weights stay as they are.

    Returns:
        The same models.
    """
    if all(p.requires_grad for p in models[0].parameters()):
        return models
    first, *others = map(frozen_state, models)
    with torch.no_grad():
        for other in others:
            for name, value in first.items():
                other[name].copy_(value)
    return models


def follows_train(module: nn.Module) -> bool:
    """Whether model.train() reaches a module; a frozen one is in eval mode for good."""
    return getattr(module.train, "__func__", None) is not _stay


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        whole = BLOCK.search(type(child).__name__) or any(True for _ in child.parameters(recurse=False))
        if whole and any(True for _ in child.parameters()):
            yield child
        else:
            yield from _units(child)


def _level(module: nn.RNNBase, level: int) -> Layer:
    names = re.compile(rf"_l{level}(_reverse)?$")
    return Layer(module, [parameter for name, parameter in module.named_parameters() if names.search(name)])


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """Replaces Module.train in a frozen module."""
    return module
