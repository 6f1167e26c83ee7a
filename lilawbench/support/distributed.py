"""Several processes that train one model (torchrun): the rows of each rank, and sums over the ranks.

A global batch is cut into contiguous parts, one per rank; a mean over the batch is the mean of the ranks' means,
weighted by their share of the rows. With one process, nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from lilawbench.support.parent import end_with

if TYPE_CHECKING:  # a single process needs no torch here
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a run; `World()` is a run in one process."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the record."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This rank's contiguous part of rows [n, ...]; with fewer than two per rank, every rank takes them all."""
        if self.size == 1 or len(rows) < 2 * self.size:
            return rows
        return rows.tensor_split(self.size)[self.rank]

    def fraction(self, count: int) -> float:
        """The weight of this rank's share of `count` rows in a mean over all of them; the ranks' weights sum to 1."""
        if self.size == 1:
            return 1.0
        if count < 2 * self.size:
            return 1 / self.size
        return (count // self.size + (self.rank < count % self.size)) / count

    def mean_(self, tensors: Sequence[Tensor], share: float) -> None:
        """Replaces tensors by their mean over the ranks weighted by `share`, in place, in one message."""
        if self.size > 1 and tensors:
            from torch import distributed as dist

            flat = _flat(tensors).mul_(share)
            dist.all_reduce(flat)
            _unflatten(flat, tensors)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replaces a tensor by its sum over the ranks, in place, and returns it."""
        if self.size > 1:
            from torch import distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def copy_from_main_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces floating-point tensors by those of the main process, in place, in one message."""
        if self.size > 1 and tensors:
            from torch import distributed as dist

            flat = _flat(tensors)
            dist.broadcast(flat, 0)
            _unflatten(flat, tensors)

    def agree(self, value: T) -> T:
        """The main process's value, on every rank."""
        if self.size == 1:
            return value
        from torch import distributed as dist

        said = [value]
        dist.broadcast_object_list(said, 0)
        return said[0]

    def main_does(self, work: Callable[[], T]) -> T:
        """Runs `work` in the main process alone; every rank returns its result, or raises its error."""
        if self.size == 1:
            return work()
        result: T | None = None
        error: Exception | None = None
        if self.is_main:
            try:
                result = work()
            except Exception as raised:
                error = raised
        result, error = self.agree((result, error))
        if error is not None:
            raise error
        return cast(T, result)  # the main process's; None may be one


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _unflatten(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def join() -> World:
    """The world that torchrun has set up for this process, joined; without torchrun a world of one."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return World()
    import torch
    from torch import distributed as dist

    if not dist.is_initialized():  # tensors travel by the backend of their device, everything else by gloo
        if "TORCHELASTIC_RUN_ID" in os.environ:  # a killed torchrun would leave its processes behind
            end_with(os.getppid())
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return World(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Ends what `join` began. Not for after an error: NCCL would wait for ranks that never leave."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return
    from torch import distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
