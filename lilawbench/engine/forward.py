"""How a network is run: in which precision and memory layout, compiled or not. What it computes stays the same."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from lilawbench.methods.context import Forward
from lilawbench.schema import Train
from lilawbench.support.side_stream import SideStream


def lay_out(model: nn.Module, channels_last: bool | None, device: torch.device) -> nn.Module:
    """The model, with the weights of its convolutions laid out channels last, in place.

    Batches stay as they are: a convolution with such weights converts its input to their layout, and its output has it.

    Args:
        channels_last: None: on CUDA only. A CPU would gain too, but the last bits of its results would change.
    """
    wanted = device.type == "cuda" if channels_last is None else channels_last
    return model.to(memory_format=torch.channels_last) if wanted else model


def is_channels_last(model: nn.Module) -> bool:
    """Whether any weight is laid out so; False for a network without convolutions over images."""
    weights = [p for p in model.parameters() if p.ndim == 4]
    return any(p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous() for p in weights)


def autocast_in(precision: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """The context of the model's forwards: none, or bf16 autocast."""
    return nullcontext if precision == "fp32" else partial(torch.autocast, device.type, torch.bfloat16)


def forward_in(train: Train | DictConfig, model: nn.Module, device: torch.device) -> Forward:
    """The model's forward as `train` wants it: in fp32, or under bf16 autocast with float32 logits; compiled.

    The model itself is never compiled: its state_dict, and what a method does with it as a function, stay as they are.
    """
    forward: Forward = model
    if train.precision != "fp32":
        autocast = autocast_in(train.precision, device)

        def in_bf16(input: Tensor) -> Tensor:
            with autocast():
                return model(input).float()

        forward = in_bf16

    return compiled(forward) if train.compile else forward


def side_stream_in(train: Train | DictConfig, networks: Sequence[nn.Module], device: torch.device) -> SideStream | None:
    """For work that the next forward need not wait for; compiled forwards and CUDA graphs keep to one stream."""
    wanted = train.side_stream and device.type == "cuda" and not (train.compile or train.cuda_graphs)
    return SideStream(device, nn.ModuleList(networks)) if wanted else None


def compiled(forward: Forward) -> Forward:
    """The forward through torch.compile, once for all sizes of a batch.

    torch would compile it for one size first and for any size later; a resumed run would then get other last bits than
    an uninterrupted one.
    """
    torch.compiler.reset()  # forgets the networks of this process's earlier runs, whose number is limited
    fast = torch.compile(forward)

    def run(input: Tensor) -> Tensor:
        torch._dynamo.maybe_mark_dynamic(input, 0)
        return fast(input)

    return run
