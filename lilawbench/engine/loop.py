"""The training loop. It sees observed labels only, and no method by name."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lilawbench.loading.batch import Batch
from lilawbench.loading.batches import MetaLoader
from lilawbench.methods.base import Method, StepOutput
from lilawbench.methods.context import Context
from lilawbench.methods.contract import check_any, check_batches, check_left, check_output, check_state, check_trace
from lilawbench.support import host, interrupt
from lilawbench.support.errors import RunFailed
from lilawbench.support.passes import BACKWARD
from lilawbench.support.seeding import seed_global

Step = Callable[[Context, Method, Batch, float], StepOutput]
CHECK_STEPS = 50  # asking whether a loss is finite makes the host wait for the device
ROUNDING = 1e-6  # of a weight that should be 0


@dataclass
class Epoch:
    """What one epoch of training leaves behind."""

    number: int  # from 1
    step: int  # finished steps of the whole run
    lr: float  # of the last step
    losses: Tensor  # [steps]
    seen: Tensor  # [N] bool, rows that trained in this epoch
    logits: Tensor  # [N, K] as each sample was seen in training, by index; 0 where it was not
    weight: Tensor | None  # [N] likewise, where the method weights samples
    trace: dict[str, list[float]]  # the method's own values after each step
    logs: dict[str, float | Tensor]  # and after the epoch
    sample_values: dict[str, Tensor]  # and per sample, [N]
    seconds: float
    cost: float  # forward and backward passes of rows through networks, by those of plain training on one network

    def on_host(self) -> "Epoch":
        """The same with all tensors on the host, where they are measured and written."""
        return replace(self, **{field.name: _brought(getattr(self, field.name)) for field in fields(self)})


def fit(
    ctx: Context,
    method: Method,
    lr_at: Callable[[float], float],
    *,
    epochs: int,
    name: str = "",
    step: Step | None = None,
) -> Iterator[Epoch]:
    """Trains from `ctx.epoch` (finished epochs) up to `epochs` and yields after each one.

    Args:
        step: does a training step; None: `train_step`.
    Raises:
        PartError: the method does not keep to its contract.
        RunFailed: the loss is NaN or infinite, or the method's weights are negative; says the epoch, and the step and
            rows of the batch or the row.
    """
    steps = len(ctx.loader)
    total, done = epochs * steps, ctx.epoch * steps
    shown = ctx.world.is_main and sys.stderr.isatty()
    with tqdm(total=total, initial=done, desc=name, unit="step", disable=not shown, leave=False) as bar:
        while ctx.epoch < epochs:
            interrupt.check()
            ctx.epoch += 1
            bar.set_description(f"{name}, epoch {ctx.epoch}/{epochs}")
            seed_global(ctx.seed, "train", ctx.epoch, *([ctx.world.rank] if ctx.world.rank else []))
            if isinstance(ctx.meta, MetaLoader):
                ctx.meta.start(ctx.epoch)
            yield _train_epoch(ctx, method, lr_at, bar, step or train_step)
            bar.update(ctx.epoch * steps - bar.n)  # an epoch may have had fewer steps


def _train_epoch(ctx: Context, method: Method, lr_at: Callable[[float], float], bar: tqdm, step: Step) -> Epoch:
    start, before = time.perf_counter(), ctx.passes.total if ctx.epoch > 1 else 0  # what setup did is the first's
    check_steps = 1 if ctx.device.type == "cpu" else CHECK_STEPS
    losses: list[Tensor] = []
    traces: list[Tensor] = []
    rows: list[Tensor] = []  # of the batches since losses were last checked
    names: tuple[str, ...] = ()
    logits = torch.zeros(ctx.num_train, ctx.num_classes, device=ctx.device)
    weight = torch.zeros(ctx.num_train, device=ctx.device)
    seen = torch.zeros(ctx.num_train, device=ctx.device)
    weighted = False

    ctx.unchecked = True
    method.on_epoch_start(ctx)
    check_state(method, ctx.networks)
    for network in ctx.networks:
        network.train()
    batches = method.batches(ctx)
    check_batches(method, batches)
    for batch in batches:
        ctx.batch_size, ctx.share = len(batch.index), batch.fraction(ctx.world)
        local = batch.share(ctx.world)
        out = step(ctx, method, local, lr_at(ctx.epoch - 1 + len(losses) / len(batches)))
        rows.append(batch.index)
        losses.append(out.loss.detach())
        if len(losses) % check_steps == 0:
            _check_finite(losses, rows, ctx)
            rows = []
        logits.index_copy_(0, local.index, out.logits)
        seen.index_fill_(0, local.index, 1)
        if out.weight is not None:
            weight.index_copy_(0, local.index, out.weight)
            weighted = True
        if (traced := method.trace()) is not None:
            names, values = traced
            if not traces:
                check_trace(method, names, values)
            traces.append(values)
        bar.update()
    check_any(method, len(losses), ctx.epoch)
    _check_finite(losses, rows, ctx)
    _gather(ctx, seen, logits, weight)
    if weighted:
        _check_weights(weight, ctx.epoch)
    method.on_epoch_end(ctx)

    columns = host.read(torch.stack(traces).T, "trace of an epoch") if traces else []
    found = host.bring(torch.stack(losses), "losses of an epoch")  # waits for all steps, so that the seconds are true
    logs, sample_values = method.logs(), method.sample_values()
    check_left(ctx, method, logs, sample_values)
    return Epoch(
        number=ctx.epoch,
        step=ctx.step,
        lr=ctx.optimizer.param_groups[0]["lr"],
        losses=found,
        seen=seen.bool(),
        logits=logits,
        weight=weight if weighted else None,
        trace=dict(zip(names, columns, strict=True)),
        logs=logs,
        sample_values=sample_values,
        seconds=time.perf_counter() - start,
        cost=_passed(ctx, ctx.passes.total - before) / ((1 + BACKWARD) * ctx.loader.num_rows),
    )


def _passed(ctx: Context, passes: int) -> int:
    """Passes of an epoch, of all ranks together."""
    if ctx.world.size == 1:
        return passes
    together = ctx.world.sum_(torch.tensor(passes, device=ctx.device))
    return int(host.read(together, "passes of an epoch"))


def _brought(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _brought(value) for name, value in part.items()}
    return host.bring(part, "epoch to measure") if isinstance(part, Tensor) else part


def train_step(ctx: Context, method: Method, batch: Batch, lr: float | Tensor) -> StepOutput:
    """One step of the model, and what the method does after it.

    Args:
        batch: this rank's share of a batch of ctx.batch_size rows. lr: [] where a CUDA graph reads it.
    Returns:
        The method's output; its loss is the mean over all ctx.batch_size rows.
    """
    for group in ctx.optimizer.param_groups:
        group["lr"] = lr
    out = _backward(ctx, method, batch)
    ctx.descend(also=[out.loss], on_gradients=method.on_gradients)
    ctx.step += 1
    method.after_step(ctx, batch, out)
    return out


def _backward(ctx: Context, method: Method, batch: Batch) -> StepOutput:
    """Forward and backward of a batch, in ctx.accumulate_steps parts whose gradients add up to those of its mean loss.

    A part has at least two rows: BatchNorm cannot train on one.
    """
    count = len(batch.index)
    parts = min(ctx.accumulate_steps, count // 2)
    outs = []
    for part in [batch] if parts < 2 else batch.split(parts):
        share = len(part.index) / count
        out = method.loss(ctx, part)
        if ctx.unchecked:
            check_output(ctx, method, part, out)
            ctx.unchecked = False
        if parts < 2:
            out.loss.backward()
            return out._replace(loss=out.loss.detach())
        out.loss.backward(torch.full_like(out.loss, share))
        outs.append(out._replace(loss=out.loss.detach() * share))
    losses, logits, weights = zip(*outs, strict=True)
    return StepOutput(sum(losses), torch.cat(logits), None if weights[0] is None else torch.cat(weights))


def _check_weights(weight: Tensor, epoch: int) -> None:
    """A sample of negative weight is trained uphill, which overall measures show only when it is too late."""
    lowest, row = host.read(torch.stack([found.double() for found in weight.min(dim=0)]), "lowest weight of an epoch")
    if lowest < -ROUNDING:
        raise RunFailed(
            f"the method gave training row {row:.0f} the weight {lowest:.3g} in epoch {epoch}; weights must be "
            ">= 0, or a sample's loss is driven up. Lower the method's own learning rate, if it has one."
        )


def _gather(ctx: Context, seen: Tensor, logits: Tensor, weight: Tensor) -> None:
    """Gives every rank all rows; a row that several ranks saw counts once."""
    if ctx.world.size == 1:
        return
    times = ctx.world.sum_(seen).clamp(min=1)
    ctx.world.sum_(logits).div_(times[:, None])
    ctx.world.sum_(weight).div_(times)


def _check_finite(losses: list[Tensor], rows: list[Tensor], ctx: Context) -> None:
    """Raises: RunFailed, one of the last len(rows) losses, those of the batches `rows`, is NaN or infinite."""
    if not rows:
        return
    values = host.read(torch.stack(losses[-len(rows) :]), "finite losses")
    first = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
    if first is None:
        return
    position = len(losses) - len(rows) + first
    named = host.read(rows[first], "rows of a loss that is not finite")
    raise RunFailed(
        f"the loss is {values[first]} at epoch {ctx.epoch}, step {ctx.step - len(losses) + position + 1} (batch "
        f"{position + 1} of the epoch), training rows {named}. Lower train.lr, set train.clip_grad_norm, or look at "
        "these rows."
    )
