"""How a network is run: its precision, its layout in memory, compiled or not. What it computes stays the same."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from lilawbench.config import Train
from lilawbench.methods.context import Forward
from lilawbench.support.side_stream import SideStream


def lay_out(model: nn.Module, channels_last: bool | None, device: torch.device) -> nn.Module:
    """The model with convolutions whose weights lie in memory with the channels last, in place.

    Batches stay as they are: a convolution with such weights takes its input over into their layout and passes it on.

    Args:
        channels_last: None: by device, on CUDA alone. A CPU gains as well, but its results keep their last bits.
    """
    wanted = device.type == "cuda" if channels_last is None else channels_last
    return model.to(memory_format=torch.channels_last) if wanted else model


def is_channels_last(model: nn.Module) -> bool:
    """Whether the layout of any weight says so; False for a network without convolutions over images."""
    weights = [p for p in model.parameters() if p.ndim == 4]
    return any(p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous() for p in weights)


def autocast_in(precision: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """What the model's forwards run under: nothing, or bf16 autocast."""
    return nullcontext if precision == "fp32" else partial(torch.autocast, device.type, torch.bfloat16)


def forward_in(train: Train | DictConfig, model: nn.Module, device: torch.device) -> Forward:
    """The model's forward as `train` wants it: in fp32, or under bf16 autocast with float32 logits; compiled.

    The model itself is never compiled: its state_dict, and what a method does with it as a function, stay as they are.
    """
    forward = model
    if train.precision != "fp32":
        autocast = autocast_in(train.precision, device)

        def forward(input: Tensor) -> Tensor:
            with autocast():
                return model(input).float()

    return compiled(forward) if train.compile else forward


def side_stream_in(train: Train | DictConfig, networks: Sequence[nn.Module], device: torch.device) -> SideStream | None:
    """Where a method may run what the next forward need not wait for; a compiled one and a graph keep to one stream."""
    wanted = train.side_stream and device.type == "cuda" and not (train.compile or train.cuda_graphs)
    return SideStream(device, nn.ModuleList(networks)) if wanted else None


def compiled(forward: Forward) -> Forward:
    """The forward through torch.compile, once for all sizes of a batch.

    From one size at first and for any size later it would be compiled twice, and a resumed run would compute other
    last bits than an unbroken one.
    """
    torch.compiler.reset()  # forgets the networks of earlier runs of this process: their number has a limit
    fast = torch.compile(forward)

    def run(input: Tensor) -> Tensor:
        torch._dynamo.maybe_mark_dynamic(input, 0)
        return fast(input)

    return run
