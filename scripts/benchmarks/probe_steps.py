"""The cost of a training step of each method where a step is mostly overhead: heads on cached features.

As a run trains: whole epochs of the loop with its bookkeeping, over 6,800 rows in batches of 16.
"""

from collections.abc import Callable

import torch

from benchmarks.scenes import CLASSES, Scene, Setup, around, drawn, made
from benchmarks.timing import interleaved, milliseconds, ratio
from lilawbench.config import build, compose
from lilawbench.engine.features import Features
from lilawbench.engine.loop import fit
from lilawbench.engine.optim import build_schedule
from lilawbench.models.cut import cut
from lilawbench.models.finetune import finetune

ROWS, BATCH = 6800, 16
METHODS = {"ce": "method=ce", "rrm": "method=rrm", "lilaw": "method=lilaw", "dynamic_loss": "method=dynamic_loss"}
LIMITS = {"lilaw": 1.4, "dynamic_loss": 4.5}
HEADS = {
    "a linear layer on the 1,280 features of EfficientNet-Lite0": ("model=mlp", "model.hidden=[]", 1280),
    "norm and head of ViT-B/16 on its 768, cut as in a run": ("model=vit_b16", "train.finetune=linear_probe", 768),
}


def bench_probe_steps(setup: Setup) -> None:
    """Epochs of each method relative to cross-entropy, all with Adam, after any warm-up."""
    print("| head | CE step ms | method | epoch / CE epoch | at most |\n|---|---|---|---|---|")
    for head, (*overrides, width) in HEADS.items():
        epochs = {name: epochs_of(width, setup.device, *overrides, method) for name, method in METHODS.items()}
        times = interleaved(epochs, setup.rounds, 1, setup.device)
        step = milliseconds(times["ce"]) / (ROWS // BATCH)
        for name in METHODS:
            if name != "ce":
                cells = [head, f"{step:.3f}", name, f"{ratio(times[name], times['ce']):.2f}", LIMITS.get(name, "")]
                print("|", " | ".join(map(str, cells)), "|", flush=True)


def epochs_of(width: int, device: torch.device, *overrides: str) -> Callable[[], None]:
    """A function that trains the next epoch of a head."""
    cfg = compose(*overrides, "train.optimizer=adam")
    scene = Scene(cfg.model.name, (width,), BATCH, 1)
    torch.manual_seed(0)
    if cfg.train.finetune == "full":
        net, data = build(cfg.model, num_classes=CLASSES, input_shape=scene.shape), drawn(scene, device, ROWS // BATCH)
    else:
        net = finetune(build(cfg.model, num_classes=CLASSES, input_shape=(3, 224, 224)), cfg.train.finetune)
        net.forward = cut(net).logits
        table = drawn(scene, torch.device("cpu"), ROWS // BATCH)
        data = Features(table.input[:, None], torch.arange(ROWS), table.target.to(device))
    ctx, method = around(cfg, [net.to(device)], data, scene), made(cfg, device)
    method.setup(ctx)
    ctx.epoch = 10**6
    epochs = fit(ctx, method, build_schedule(cfg.train), epochs=10**7)
    return lambda: next(epochs)
