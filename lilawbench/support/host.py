"""Copies between the host and the device. Training waits for its device in `bring` and nowhere else; loading before
the first step, and checkpoints between epochs, do not go through here.

The host queues work on a CUDA device and runs ahead; reading a value makes it wait until all of that is done. So every
value that training needs goes through one function, with the reason. Call it as `host.bring`: a test that replaces this
one function sees each wait (tests/meta_device/test_runs.py lists them, with the reason for each), can answer for a
device that holds no values, or can lift torch.cuda.set_sync_debug_mode("error") for it alone.
"""

import torch
from torch import Tensor

from lilawbench.support.plain import Tree


def bring(value: Tensor, why: str) -> Tensor:
    """A tensor's values on the host. `why` says what they are needed for."""
    return value.detach().cpu()


def read(value: Tensor, why: str) -> Tree:
    """As `bring`, as plain numbers: one of a tensor [], else nested lists (Tensor.tolist)."""
    return bring(value, why).tolist()


def send(value: Tensor, device: torch.device) -> Tensor:
    """A tensor from the host on the device; through pinned memory on CUDA, so that the host need not wait."""
    if device.type == "cuda" and not value.is_cuda:
        return value.pin_memory().to(device, non_blocking=True)
    return value.to(device)
