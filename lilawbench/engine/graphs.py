"""Training steps as CUDA graphs: recorded once, then launched whole. For networks so small that launching dominates.

A graph repeats the same operations on the same memory, without Python. So a step is recorded on tensors of its own:
every batch, validation batch and learning rate is copied into them, and if a step replaces a buffer of the method, the
new values are copied into the buffer that was recorded.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from lilawbench.engine.loop import train_step
from lilawbench.loading.batch import Batch
from lilawbench.methods.base import Method, StepOutput
from lilawbench.methods.context import Context

T = TypeVar("T")
WARMUP_STEPS = 3  # as torch's notes on CUDA graphs advise: libraries and the optimiser set themselves up in them


class Recorder(Protocol):
    """Makes a graph of some work."""

    def warm_up(self, work: Callable[[], T]) -> T:
        """Runs `work` as it is, where it will be recorded."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], object]:
        """Calls `work` once without running it on the device; the result runs it."""


class CUDARecorder:
    """A `Recorder` of work on a CUDA device, with one side stream for warming up and recording."""

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], T]) -> T:
        """Autograd remembers streams, so `work` runs on the one that will record."""
        main = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            result = work()
        main.wait_stream(self.stream)
        return result

    def __call__(self, work: Callable[[], None]) -> Callable[[], object]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        return graph.replay


class GraphedStep:
    """A replacement for `loop.train_step`, with the same results.

    The first steps of a phase (`Method.warming_up` or not), and batches of another size, run as they are.

    Args:
        recorder: None: a `CUDARecorder` of the context's device.
    """

    def __init__(self, recorder: Recorder | None = None):
        self.recorder = recorder
        self.phase: bool | None = None
        self.replay: Callable[[], object] | None = None
        self.asked: list[int] = []  # sizes of the validation batches of a step

    def __call__(self, ctx: Context, method: Method, batch: Batch, lr: float) -> StepOutput:
        """As `train_step`, with the learning rate rounded to float32: a graph reads it from a tensor."""
        out = self._step(ctx, method, batch, float(np.float32(lr)))
        for group in ctx.optimizer.param_groups:
            group["lr"] = lr
        return out

    def _step(self, ctx: Context, method: Method, batch: Batch, lr: float) -> StepOutput:
        if len(batch.index) != ctx.full_batch_size:
            return train_step(ctx, method, batch, lr)
        if self.phase != method.warming_up:
            self.phase, self.replay, self.warm = method.warming_up, None, 0
        if self.warm < WARMUP_STEPS:
            self.warm += 1
            return self._warm_up(ctx, method, batch, lr)
        if self.replay is None:
            self.replay = self._record(ctx, method, batch, lr)
        else:
            self._fill(ctx, method, batch, lr)
            ctx.step += 1
            ctx.passes.add(self.rows)
        self.replay()
        for name in self.replaced:  # the recorded ones are overwritten later; a trace must keep its values
            _put(method, name, self.buffers[name].clone())
        return self.out._replace(loss=self.out.loss.clone())

    def _warm_up(self, ctx: Context, method: Method, batch: Batch, lr: float) -> StepOutput:
        """A step as it is, which shows what validation batches it asks for."""
        recorder, meta = self._recorder(ctx), ctx.meta
        self.asked = []

        def noting(size: int) -> Batch:
            self.asked.append(size)
            return meta(size)

        ctx.meta = noting
        try:
            return recorder.warm_up(lambda: train_step(ctx, method, batch, lr))
        finally:
            ctx.meta = meta

    def _record(self, ctx: Context, method: Method, batch: Batch, lr: float) -> Callable[[], object]:
        """What replays a step."""
        meta, groups = ctx.meta, ctx.optimizer.param_groups
        self.batch, self.lr = batch.each(torch.clone), torch.full((), lr, device=ctx.device)
        self.meta_batches = [meta(size).each(torch.clone) for size in self.asked]
        self.buffers = {name: buffer.clone() for name, buffer in method.named_buffers()}
        for name, kept in self.buffers.items():
            _put(method, name, kept)

        def work() -> None:
            given = iter(self.meta_batches)
            ctx.meta = lambda size: next(given)
            self.out = train_step(ctx, method, self.batch, self.lr)
            self.replaced = [name for name, now in method.named_buffers() if now is not self.buffers[name]]
            for name in self.replaced:
                self.buffers[name].copy_(method.get_buffer(name))

        before = ctx.passes.total
        capturable = [group.get("capturable") for group in groups]
        try:
            for group in groups:
                group.update({"capturable": True} if "capturable" in group else {})
            return self._recorder(ctx)(work)
        finally:
            self.rows = ctx.passes.total - before  # a replay runs no Python that counts
            ctx.meta = meta
            for group, was in zip(groups, capturable):
                group.update({} if was is None else {"capturable": was})

    def _fill(self, ctx: Context, method: Method, batch: Batch, lr: float) -> None:
        """Copies in what the graph reads: batches, learning rate, and the method's present buffers."""
        pairs = [*zip(self.batch.tensors(), batch.tensors())]
        for meta_batch, size in zip(self.meta_batches, self.asked):
            pairs += zip(meta_batch.tensors(), ctx.meta(size).tensors())
        for name, kept in self.buffers.items():
            now = method.get_buffer(name)
            if now is not kept:
                pairs.append((kept, now))
                _put(method, name, kept)
        for kept, now in pairs:
            kept.copy_(now)
        self.lr.fill_(lr)

    def _recorder(self, ctx: Context) -> Recorder:
        self.recorder = self.recorder or CUDARecorder(ctx.device)
        return self.recorder


def _put(method: Method, name: str, value: Tensor) -> None:
    module, _, last = name.rpartition(".")
    setattr(method.get_submodule(module), last, value)
