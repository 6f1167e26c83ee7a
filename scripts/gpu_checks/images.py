"""Training images per second of large networks, relative to a single batch and to a bare loop; input path alone."""

from collections.abc import Callable

import torch
from benchmarks.scenes import CLASSES, LR, Scene, composed, forever, prepared
from benchmarks.timing import interleaved, milliseconds, ratio
from torch.nn import functional as F

from gpu_checks.checks import Checks
from gpu_checks.scenes import BF16
from lilawbench.augment.transforms import Augment
from lilawbench.config import build
from lilawbench.engine import runtime
from lilawbench.engine.loop import train_step
from lilawbench.loading.batches import TrainLoader

SCENES = [(Scene("vit_b16", (3, 224, 224), 64, 3), []), (Scene("resnet50", (3, 224, 224), 128, 3), [])]
TINY = [(Scene("vit_s16", (3, 32, 32), 8, 1), ["+model.options={depth:1,embed_dim:48,num_heads:3}"])]
SAME_BATCH, BARE = 0.95, 1.0  # of the images per second, at least
BATCHES = 8


def check(c: Checks) -> None:
    runtime.prepare(c.device, runtime.choose_threads(None), deterministic=False)
    for scene, options in TINY if c.tiny else SCENES:
        with c.attempt(str(scene)):
            inputs, ours, same = training(c, scene, options)
            ways = {"input": inputs, "ours": ours, "same batch": same, "bare": bare(c, scene, options)}
            times = interleaved(ways, 1 if c.tiny else 7, scene.steps, c.device)
            speed = {name: scene.batch / milliseconds(seconds) * 1e3 for name, seconds in times.items()}
            c.speed(f"{scene}, bf16: training images/s, crop and flip", speed["ours"])
            c.speed(
                f"{scene}: relative to one batch that never changes",
                ratio(times["same batch"], times["ours"]),
                at_least=SAME_BATCH,
            )
            c.speed(f"{scene}: over a bare timm + torch loop", ratio(times["bare"], times["ours"]), at_least=BARE)
            c.speed(f"{scene}: input path alone, images/s", speed["input"])


def training(c: Checks, scene: Scene, options: list[str]) -> tuple[Callable[[], object], ...]:
    """Three functions: take the next batch; a CE step on the next batch; a CE step on a batch that never changes."""
    ctx, method = prepared(scene, c.device, "method=ce", *options, *BF16, batches=BATCHES)
    ctx.epoch = 1
    method.on_epoch_start(ctx)
    ctx.model.train()
    loader = TrainLoader(ctx.table, scene.batch, 0, Augment(crop_px=4, flip=True))
    stream = forever(lambda: loader.epoch(1))
    kept = next(stream)
    return (
        lambda: next(stream),
        lambda: train_step(ctx, method, next(stream), LR),
        lambda: train_step(ctx, method, kept, LR),
    )


def bare(c: Checks, scene: Scene, options: list[str]) -> Callable[[], None]:
    """The same network, precision, layout and optimiser in a minimal loop, on a batch that never changes."""
    net = build(composed(f"model={scene.model}", *options).model, num_classes=CLASSES, input_shape=scene.shape)
    net = net.to(c.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, fused=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(scene.batch, *scene.shape, generator=generator).to(c.device)
    target = torch.randint(CLASSES, (scene.batch,), generator=generator).to(c.device)

    def step() -> None:
        with torch.autocast(c.device.type, torch.bfloat16):
            loss = F.cross_entropy(net(images), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
