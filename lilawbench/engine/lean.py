"""torch's optimisers without torch's compiler, whose import takes as long as torch's own.

The first call of an optimiser imports `torch._dynamo`, only to keep it from compiling what nobody compiles here.
"""

import inspect
from types import MethodType
from typing import Any

import torch
from torch.optim import Optimizer

KEPT_FROM_COMPILING = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def lean(kind: type[Optimizer], *parts: Any, **options: Any) -> Optimizer:
    """kind(*parts, **options) whose step is the same, less its wrappers that ask for the compiler."""
    for name in KEPT_FROM_COMPILING:
        method = inspect.unwrap(getattr(Optimizer, name))
        method.__dict__.setdefault("__dynamo_disable", method)
    optimizer = kind(*parts, **options)
    optimizer.step = MethodType(torch.no_grad()(inspect.unwrap(kind.step)), optimizer)
    return optimizer
