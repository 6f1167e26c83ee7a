"""Compares five steps of every method on the device with the same steps on the CPU."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from benchmarks.scenes import prepared
from torch import nn
from torch.utils._pytree import tree_leaves

from gpu_checks.checks import Checks
from gpu_checks.scenes import BF16, CORE, METHODS, SGD, Net, acting, nets
from lilawbench.engine import runtime
from lilawbench.engine.loop import train_step

FP32 = 1e-4  # relative
CHANGE = 0.02  # of the weights' change in five steps: rounding, relative to steps that are small themselves
# factor of these limits with FGSM: where a gradient is only rounding, its sign is random and moves a pixel by 2 eps
ATTACKED = 20
BF16_LOSSES = 2**-6  # eight bits of significand, through a few layers
LR = 3e-4  # at 0.01, rounding errors in the logits of a ResNet-32 grow to 6e-4 within five steps
STEPS, AFTER = 5, 3  # an epoch ends after the third: RRM re-weights, Dynamic Loss redraws its meta set
BATCHES = 16


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=True)
    plain = {}
    for net in nets(c.tiny):
        for method in METHODS if net.name == "mlp" else ("ce", "lilaw") if c.tiny else CORE:
            with c.attempt(f"{net.name}, {method}, fp32"):
                options = [*net.options, *acting(method), *SGD]
                plain[net.name, method] = five(net, torch.device("cpu"), options)
                with exact(c):
                    there = five(net, c.device, options)
                here, scale = plain[net.name, method], ATTACKED if method in ("at", "a_rrm") else 1
                what = f"{net.name}, {method}, fp32"
                c.line(what, distance([*there[:2], *there[3:]], [*here[:2], *here[3:]]), at_most=scale * FP32)
                c.line(f"{what}: the weights' change", distance(there[2:3], here[2:3]), at_most=min(1, scale * CHANGE))
    for net in nets(c.tiny):
        if net.name == "lstm" and not c.on_cuda:
            continue  # oneDNN has a bf16 LSTM on some processors only
        for method in ("lilaw",) if c.tiny else ("ce", "lilaw"):
            with c.attempt(f"{net.name}, {method}, bf16"):
                losses, *_ = five(net, c.device, [*net.options, *acting(method), *SGD, *BF16])
                off = distance([losses], plain[net.name, method][:1])
                c.line(f"{net.name}, {method}, bf16: losses", off, at_most=BF16_LOSSES)


def five(net: Net, device: torch.device, options: Sequence[str]) -> list[torch.Tensor]:
    """The results of five steps, on the host: losses [5], logits of a batch, change of the weights, method state."""
    ctx, method = prepared(net.scene, device, *options, batches=BATCHES)
    start = flat(ctx.model)
    losses = []
    for epoch, steps in ((10**6, AFTER), (10**6 + 1, STEPS - AFTER)):  # after any warm-up
        ctx.epoch = epoch
        method.on_epoch_start(ctx)
        ctx.model.train()
        for _, batch in zip(range(steps), method.batches(ctx)):
            ctx.batch_size = len(batch.index)
            losses.append(train_step(ctx, method, batch, LR).loss.detach())
        method.on_epoch_end(ctx)
    batch = next(iter(ctx.loader.epoch(0)))
    with ctx.side_pass("eval"):
        logits = ctx.forward(batch.input)
    state = [
        v.detach().double().flatten().cpu() for v in tree_leaves(method.state_dict()) if isinstance(v, torch.Tensor)
    ]
    found = [torch.stack(losses), logits, flat(ctx.model) - start, *([torch.cat(state)] if state else [])]
    return [tensor.double().cpu() for tensor in found]


def flat(model: nn.Module) -> torch.Tensor:
    """All weights in one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def distance(there: Sequence[torch.Tensor], here: Sequence[torch.Tensor]) -> float:
    """The largest relative distance, |a - b| / |b|, over all results; of what is the same 0, of nothing too."""
    pairs = zip(there, here, strict=True)
    return max(0.0 if torch.equal(a, b) else ((a - b).norm() / b.norm()).item() for a, b in pairs)


def exact(c: Checks) -> AbstractContextManager:
    """Full float32 products on CUDA; on a CPU, other kernels, so that it differs from itself."""
    return full_float32() if c.on_cuda else torch.backends.mkldnn.flags(enabled=False)


@contextmanager
def full_float32() -> Iterator[None]:
    """Turns off TF32, which has ten bits."""
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept
