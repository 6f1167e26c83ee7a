"""Five steps of every method on the device against the same five on the CPU."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from benchmarks.scenes import prepared
from torch.utils._pytree import tree_leaves

from gpu_checks.checks import Checks
from gpu_checks.scenes import BF16, METHODS, SGD, Net, acting, nets
from lilawbench.engine import runtime
from lilawbench.engine.loop import train_step

FP32 = 1e-4  # relative
ATTACKED = 2e-3  # of methods with FGSM: the sign of a gradient that is rounding is chance, and moves a pixel by 2 eps
BF16_LOSSES = 2**-6  # eight bits of significand, through a few layers
STEPS, AFTER = 5, 3  # an epoch ends after the third: RRM re-weights, Dynamic Loss draws its meta set anew
BATCHES = 16


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=True)
    plain = {}
    for net in nets(c.tiny):
        for method in METHODS if net.name == "mlp" or not c.tiny else ("ce", "lilaw", "dynamic_loss"):
            with c.attempt(f"{net.name}, {method}, fp32"):
                options = [*net.options, *acting(method), *SGD]
                plain[net.name, method] = five(net, torch.device("cpu"), options)
                with exact(c):
                    there = five(net, c.device, options)
                limit = ATTACKED if method in ("at", "a_rrm") else FP32
                c.line(f"{net.name}, {method}, fp32", distance(there, plain[net.name, method]), at_most=limit)
    for net in nets(c.tiny):
        for method in ("ce", "lilaw"):
            with c.attempt(f"{net.name}, {method}, bf16"):
                losses, *_ = five(net, c.device, [*net.options, *acting(method), *SGD, *BF16])
                off = distance([losses], plain[net.name, method][:1])
                c.line(f"{net.name}, {method}, bf16: losses", off, at_most=BF16_LOSSES)


def five(net: Net, device: torch.device, options: Sequence[str]) -> list[torch.Tensor]:
    """What five steps leave behind, on the host: losses [5], logits of the next batch, weights, the method's state."""
    ctx, method, loader = prepared(net.scene, device, *options, batches=BATCHES)
    losses = []
    for epoch, steps in ((10**6, AFTER), (10**6 + 1, STEPS - AFTER)):  # far behind any warm-up
        ctx.epoch = epoch
        method.on_epoch_start(ctx)
        ctx.model.train()
        batches = loader.epoch(epoch, method.training_rows())
        for _, batch in zip(range(steps), batches):
            ctx.batch_size = len(batch.index)
            losses.append(train_step(ctx, method, batch, 0.01).loss.detach())
        method.on_epoch_end(ctx)
    batch = next(loader.epoch(0))
    with ctx.side_pass("eval"):
        logits = ctx.forward(batch.input)
    weights = torch.cat([p.detach().flatten() for p in ctx.model.parameters()])
    state = [v.detach().double().flatten() for v in tree_leaves(method.state_dict()) if isinstance(v, torch.Tensor)]
    found = [torch.stack(losses), logits, weights, *([torch.cat(state)] if state else [])]
    return [tensor.double().cpu() for tensor in found]


def distance(there: Sequence[torch.Tensor], here: Sequence[torch.Tensor]) -> float:
    """The largest relative distance, |a - b| / |b|, of all that was kept."""
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(there, here, strict=True))


def exact(c: Checks) -> AbstractContextManager:
    """Full float32 products on CUDA; on a CPU, which is to differ from itself, other kernels."""
    return full_float32() if c.on_cuda else torch.backends.mkldnn.flags(enabled=False)


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32, which has ten bits."""
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept
