"""What stands for a device that works later than the host asks it to."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Tape(TorchDispatchMode):
    """The operations of some work, to be done again on the same tensors without any Python of the work's own.

    As a CUDA graph does: arguments that are plain numbers stay what they were, results go where they went.
    """

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, before in self.calls:
            if kwargs.get("generator") is not None:  # chance is the host's, which is ahead
                continue
            again = func(*args, **kwargs)
            for old, new in zip(tensors(before), tensors(again), strict=True):
                if old is not new and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.view_as(new).copy_(new)  # torch has squeezed some in place since


def tensors(tree):
    if isinstance(tree, torch.Tensor):
        return [tree]
    return [t for item in tree for t in tensors(item)] if isinstance(tree, list | tuple) else []


@pytest.fixture(scope="session")
def tape():
    return Tape
