"""torch's optimisers without torch's compiler, whose import takes as long as torch's own.

The first call of an optimiser imports `torch._dynamo`, only to exclude methods from a compilation that never happens
here.
"""

import inspect
from collections.abc import Iterable
from types import MethodType

import torch
from torch import nn
from torch.optim import Optimizer

from lilawbench.support.plain import Tree

KEPT_FROM_COMPILING = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def lean(kind: type[Optimizer], parameters: Iterable[nn.Parameter], **options: Tree) -> Optimizer:
    """kind(parameters, **options) with the same step, less the wrappers that import the compiler."""
    for name in KEPT_FROM_COMPILING:
        method = inspect.unwrap(getattr(Optimizer, name))
        method.__dict__.setdefault("__dynamo_disable", method)
    optimizer = kind(parameters, **options)
    step = MethodType(torch.no_grad()(inspect.unwrap(kind.step)), optimizer)
    optimizer.step = step  # type: ignore[method-assign]  # of this one optimiser, not of its class
    return optimizer
