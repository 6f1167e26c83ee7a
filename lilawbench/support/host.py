"""The doors between the host and the device. Training waits for its device in `bring`, and nowhere else; what is
loaded before the first step, and a checkpoint after an epoch, go their own way.

The host queues work on a CUDA device and runs ahead; whatever looks at a value makes it wait until all of that is done.
So every value that training needs passes one door, with the name of the place. Call it as `host.bring`: whoever
replaces that one function sees each wait (tests/meta_device/test_runs.py lists them, with the reason for each),
answers in the place of a device that has no values, or lifts torch.cuda.set_sync_debug_mode("error") for it alone.
"""

import torch
from torch import Tensor


def bring(value: Tensor, why: str) -> Tensor:
    """A tensor's values on the host. `why` names the place that cannot do without."""
    return value.detach().cpu()


def read(value: Tensor, why: str) -> bool | int | float | list:
    """As `bring`, in plain numbers: those of Tensor.tolist()."""
    return bring(value, why).tolist()


def send(value: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on the device; on CUDA through pinned memory, so that the host need not wait."""
    if device.type == "cuda" and not value.is_cuda:
        return value.pin_memory().to(device, non_blocking=True)
    return value.to(device)
