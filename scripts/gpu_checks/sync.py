"""Trains epochs of every method while torch forbids whatever makes the host wait for the device.

Allowed are the reads through `host.bring` that tests/meta_device/test_runs.py lists.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from benchmarks.scenes import LR, prepared

from gpu_checks.checks import Checks
from gpu_checks.scenes import CORE, METHODS, Net, acting, nets
from lilawbench.engine import runtime
from lilawbench.engine.loop import fit
from lilawbench.support import host

STEPS = 20
TEST = Path(__file__).resolve().parents[2] / "tests" / "meta_device" / "test_runs.py"


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=False)
    known = reasons()
    chosen = [net for net in nets(c.tiny) if net.name in ("mlp", "resnet32", "lstm")]
    chosen.sort(key=lambda net: net.name == "lstm")  # without cudnn's kernels forward mode takes seconds a method
    for net in chosen[:1] if c.tiny else chosen:
        for method in METHODS if net.name == "mlp" else CORE:
            with c.attempt(f"{net.name}, {method}: {STEPS} steps"):
                asked = whys(c, net, method)
                strange = sorted(asked - known)
                reads = f"no wait except {len(asked)} reads with a reason"
                c.line(f"{net.name}, {method}: an epoch of {STEPS} steps", strange or reads, ok=not strange)


def whys(c: Checks, net: Net, method: str) -> set[str]:
    """The reasons of the second epoch's reads from the device. Raises: RuntimeError, at any other wait."""
    ctx, rule = prepared(net.scene, c.device, *net.options, *acting(method), batches=STEPS)
    ctx.epoch = 10**6
    next(fit(ctx, rule, lambda _: LR, epochs=ctx.epoch + 1))  # libraries initialise
    with no_waiting(c) as asked:
        next(fit(ctx, rule, lambda _: LR, epochs=ctx.epoch + 1))
    return asked


@contextmanager
def no_waiting(c: Checks) -> Iterator[set[str]]:
    """Collects the reasons of the reads inside it."""
    asked, bring = set(), host.bring

    def mode(name: str) -> None:
        if c.on_cuda:
            torch.cuda.set_sync_debug_mode(name)

    def lifted(value: torch.Tensor, why: str) -> torch.Tensor:
        asked.add(why)
        mode("default")
        try:
            return bring(value, why)
        finally:
            mode("error")

    host.bring = lifted
    mode("error")
    try:
        yield asked
    finally:
        mode("default")
        host.bring = bring


def reasons() -> set[str]:
    """The reads that the test on the meta device allows."""
    for node in ast.parse(TEST.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "READS":
            return set(ast.literal_eval(node.value))
    raise LookupError(f"{TEST} has no READS")
