"""Training steps as CUDA graphs: recorded once, then launched whole. For networks so small that launching takes long.

A graph does the same operations on the same memory again, and no Python. So a step is recorded on tensors of its own,
which every batch, validation batch and learning rate is copied into, and what the step puts in the place of the
method's buffers is copied back over the ones it was recorded with.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilawbench.engine.loop import train_step
from lilawbench.loading.batch import Batch
from lilawbench.methods.base import Method, StepOutput
from lilawbench.methods.context import Context

WARMUP_STEPS = 3  # as torch's notes on CUDA graphs advise: libraries and the optimiser set themselves up in them


class CUDARecorder:
    """Records work on a CUDA device as a graph, after warming up on the same side stream."""

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """What `work` gives. Autograd remembers streams, so it runs on the one that will record."""
        main = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            result = work()
        main.wait_stream(self.stream)
        return result

    def __call__(self, work: Callable[[], None]) -> Callable[[], object]:
        """Calls `work` once, which runs nothing yet on the device; the result runs it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        return graph.replay


class GraphedStep:
    """In the place of `loop.train_step`, with its results.

    The first steps of a phase (`Method.warming_up` or not) and a batch of another size than the others run as they are.

    Args:
        recorder: what warms work up and records it; None: a `CUDARecorder` of the context's device.
    """

    def __init__(self, recorder: Any = None):
        self.recorder = recorder
        self.phase: bool | None = None
        self.replay: Callable[[], object] | None = None

    def __call__(self, ctx: Context, method: Method, batch: Batch, lr: float) -> StepOutput:
        """As `train_step`, with the learning rate as float32 has it: a graph reads it from a tensor."""
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
            self._record(ctx, method, batch, lr)
        else:
            self._fill(ctx, method, batch, lr)
            ctx.step += 1
        self.replay()
        for name in self.replaced:  # theirs stay: a trace keeps what it was given
            _put(method, name, self.buffers[name].clone())
        return self.out._replace(loss=self.out.loss.clone())

    def _warm_up(self, ctx: Context, method: Method, batch: Batch, lr: float) -> StepOutput:
        """A step as it is, which shows what validation batches it asks for."""
        self.recorder = self.recorder or CUDARecorder(ctx.device)
        meta, self.asked = ctx.meta, []

        def noting(size: int) -> Batch:
            self.asked.append(size)
            return meta(size)

        ctx.meta = meta and noting
        try:
            return self.recorder.warm_up(lambda: train_step(ctx, method, batch, lr))
        finally:
            ctx.meta = meta

    def _record(self, ctx: Context, method: Method, batch: Batch, lr: float) -> None:
        meta, groups = ctx.meta, ctx.optimizer.param_groups
        self.batch, self.lr = batch.each(torch.clone), torch.full((), lr, device=ctx.device)
        self.meta_batches = [meta(size).each(torch.clone) for size in self.asked]
        self.buffers = {name: buffer.clone() for name, buffer in method.named_buffers()}
        for name, kept in self.buffers.items():
            _put(method, name, kept)

        def work() -> None:
            given = iter(self.meta_batches)
            ctx.meta = meta and (lambda size: next(given))
            self.out = train_step(ctx, method, self.batch, self.lr)
            self.replaced = [name for name, now in method.named_buffers() if now is not self.buffers[name]]
            for name in self.replaced:
                self.buffers[name].copy_(method.get_buffer(name))

        capturable = [group.get("capturable") for group in groups]
        try:
            for group in groups:
                group.update({"capturable": True} if "capturable" in group else {})
            self.replay = self.recorder(work)
        finally:
            ctx.meta = meta
            for group, was in zip(groups, capturable):
                group.update({} if was is None else {"capturable": was})

    def _fill(self, ctx: Context, method: Method, batch: Batch, lr: float) -> None:
        """What the graph reads: the batch, validation batches, learning rate, and the method's buffers as they are."""
        pairs = [*zip(self.batch.tensors(), batch.tensors())]
        for kept, size in zip(self.meta_batches, self.asked):
            pairs += zip(kept.tensors(), ctx.meta(size).tensors())
        for name, kept in self.buffers.items():
            now = method.get_buffer(name)
            if now is not kept:
                pairs.append((kept, now))
                _put(method, name, kept)
        for kept, now in pairs:
            kept.copy_(now)
        self.lr.fill_(lr)


def _put(method: Method, name: str, value: Tensor) -> None:
    module, _, last = name.rpartition(".")
    setattr(method.get_submodule(module), last, value)
