"""Options that must not change results, whole runs of a linear probe and under attack, and peak memory."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.memory import growth
from benchmarks.scenes import Scene, prepared, stepper
from benchmarks.timing import interleaved, ratio

from gpu_checks.checks import Checks
from gpu_checks.rightness import distance, exact
from gpu_checks.runs import PICTURES, TABLE, config, result
from gpu_checks.scenes import BF16, CORE, METHODS, SGD, Net, acting, nets
from lilawbench.engine import runtime
from lilawbench.engine.graphs import GraphedStep
from lilawbench.engine.loop import fit
from lilawbench.support.errors import ConfigError
from lilawbench.train import run

LILAW = ["method=lilaw", "method.lr=0.5", "method.warmup_epochs=1"]
PROBE = ["model=vit_s16", "+model.options={depth:2,embed_dim:48,num_heads:3}", "train.finetune=linear_probe"]
ELR = {"ce with ELR": ["method=ce", "loss=elr"]}  # a loss with a memory
EPS = "attack.eps=[0.05,0.2]"


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=True)
    by_name = {net.name: net for net in nets(c.tiny)}
    for work in (side_stream, graphs, probe, attacked, repeatable, memory, compiled):
        with c.attempt(work.__name__):
            work(c, by_name)


def side_stream(c: Checks, by_name: dict[str, Net]) -> None:
    """Forty steps of LiLAW with the meta step on a side stream, and without."""
    for name in ("mlp",) if c.tiny else ("mlp", "resnet32", "small ViT"):
        for kind, more in (("fp32", []), ("bf16", BF16)):
            ways = [trained(c, by_name[name], [*LILAW, *more, f"train.side_stream={on}"]) for on in ("true", "false")]
            value, same = same_bits(*ways)
            c.line(f"side stream, {name}, {kind}: 40 steps", value, ok=same)


def graphs(c: Checks, by_name: dict[str, Net]) -> None:
    """Steps as CUDA graphs; on a CPU, that they are refused."""
    if not c.on_cuda:
        try:
            run(config(TABLE, Path("nowhere"), c.device, "model=mlp", "train.cuda_graphs=true"))
            message = "not refused"
        except ConfigError as error:
            message = str(error)
        c.line("CUDA graphs without CUDA", "refused", ok="needs a CUDA device" in message)
        return
    for name in ("mlp", "lstm"):
        every = {method: acting(method) for method in (METHODS if name == "mlp" else CORE)} | ELR
        for method, chosen in every.items():
            options = [*chosen, *SGD, "train.side_stream=false"]  # as in a run with graphs
            if prepared(by_name[name].scene, c.device, *options)[1].against_graphs() is None:
                with c.attempt(f"CUDA graphs, {name}, {method}"):
                    ways = [trained(c, by_name[name], options, step) for step in (GraphedStep(), None)]
                    c.line(f"CUDA graphs, {name}, {method}: 40 steps", distance(*ways), at_most=1e-5)


def trained(c: Checks, net: Net, options: Sequence[str], step: Any = None, lr: float = 2**-6) -> list[torch.Tensor]:
    """The results of two epochs of twenty steps: losses, training logits, weights."""
    ctx, method = prepared(net.scene, c.device, *net.options, *options, batches=20)
    with exact(c):
        rows = list(fit(ctx, method, lambda _: lr, epochs=2, step=step))
    weights = torch.cat([p.detach().flatten() for p in ctx.model.parameters()])
    traces = [torch.tensor(list(row.trace.values())) for row in rows if row.trace]
    found = [*(row.losses for row in rows), rows[-1].logits, weights, *traces]
    return [tensor.double().cpu() for tensor in found]


def same_bits(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> tuple[str, bool]:
    same = all(map(torch.equal, one, other))
    return "every bit" if same else f"off by {distance(one, other):.1e}", same


def probe(c: Checks, by_name: dict[str, Net]) -> None:
    """A linear probe with and without cached features."""
    data = PICTURES | {"rows": 96, "tests": 32} if c.tiny else PICTURES
    with tempfile.TemporaryDirectory() as folder:
        options = [*PROBE, *LILAW, "train.epochs=4", "train.batch_size=32"]
        first = result(data, Path(folder), c.device, *options, "noise.rate=0.2")
        files = [path.stat().st_mtime_ns for path in Path(folder, "features").glob("*.npy")]
        result(data, Path(folder), c.device, *options, "noise.rate=0.4")
        again = [path.stat().st_mtime_ns for path in Path(folder, "features").glob("*.npy")]
        bare = result(data, Path(folder), c.device, *options, "noise.rate=0.2", "train.cache_features=false")
    c.line("linear probe: one file of features for two runs", len(files), ok=len(files) == 1 and files == again)
    compared(c, "linear probe: loss with the cache over one without", first, bare, ["last.test_loss"])


def attacked(c: Checks, by_name: dict[str, Net]) -> None:
    data = TABLE | {"rows": 640} if c.tiny else TABLE
    with tempfile.TemporaryDirectory() as folder:
        options = ["model=mlp", "method=a_rrm", "method.fgsm.eps=0.05", "train.epochs=3", EPS]
        ways = [result(data, Path(folder, f"on {d}"), d, *options) for d in (c.device, torch.device("cpu"))]
    keys = sorted(key for key in ways[0] if key.startswith("last.test_attacked"))
    assert len(keys) == 2, f"attacked metrics: {keys}"
    far = max(abs(ways[0][key] - ways[1][key]) for key in keys)
    c.line("attack.eps: attacked accuracy, distance from the CPU's", far, at_most=0.02)


def compared(c: Checks, what: str, one: dict[str, Any], other: dict[str, Any], keys: Sequence[str]) -> None:
    c.line(what, max(abs(one[key] / other[key] - 1) for key in keys), at_most=1e-3)


def compiled(c: Checks, by_name: dict[str, Net]) -> None:
    """Steps of LiLAW; at tiny sizes one forward, since compiling takes most of a minute."""
    if c.tiny:
        ways = []
        for on in ("true", "false"):
            ctx, _ = prepared(by_name["mlp"].scene, c.device, *by_name["mlp"].options, f"train.compile={on}")
            with torch.no_grad():
                ways.append([ctx.forward(next(iter(ctx.loader.epoch(0))).input).double()])
        c.line("train.compile, mlp: a forward", distance(*ways), at_most=1e-5)
        return
    net = by_name["resnet32"]
    # the kernels differ: a learning rate at which rounding errors do not grow
    ways = [trained(c, net, ["method=lilaw", *SGD, f"train.compile={on}"], lr=2**-12) for on in ("true", "false")]
    c.line(f"train.compile, {net.name}: 40 steps", distance(*ways), at_most=1e-3)


def repeatable(c: Checks, by_name: dict[str, Net]) -> None:
    """What train.deterministic costs, which switches off fused attention and the choice among convolutions."""
    threads = runtime.choose_threads(None)
    scenes = [by_name["mlp"].scene] if c.tiny else [Scene("vit_b16", (3, 224, 224), 64, 1), by_name["resnet32"].scene]
    for scene in scenes:
        ways = {}
        for on in (True, False):
            step = stepper(scene, c.device, *([] if c.tiny else BF16), batches=8)

            def prepared_step(on: bool = on, step: Callable[[], None] = step) -> None:
                runtime.prepare(c.device, threads, deterministic=on)
                step()

            ways[on] = prepared_step
        times = interleaved(ways, 1 if c.tiny else 7, scene.steps, c.device)
        c.speed(
            f"train.deterministic, {scene}, bf16: time of a step over one without", ratio(times[True], times[False])
        )
    runtime.prepare(c.device, threads, deterministic=True)


def memory(c: Checks, by_name: dict[str, Net]) -> None:
    """Peak memory of a step, beyond model, data and optimiser."""
    net = by_name["mlp" if c.tiny else "resnet32"]

    def peak(*options: str) -> float:
        step: Callable[[], None] = stepper(net.scene, c.device, *net.options, *options)
        return growth(step, c.device) / 2**20

    base = peak("method=ce")
    c.line(f"peak memory of a step, {net.name}, ce: MiB", base)
    for method in ("lilaw",) if c.tiny else CORE[1:]:
        c.line(f"peak memory of a step, {net.name}, {method}: MiB", peak(*acting(method)))
