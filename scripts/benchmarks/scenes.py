"""What is timed: random data of some shapes, and everything that a training step of any method needs."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lilawbench.config import bind, build, compose
from lilawbench.engine.context import make_context
from lilawbench.engine.forward import lay_out
from lilawbench.engine.loop import train_step
from lilawbench.loading.batch import Batch
from lilawbench.loading.resident import Resident
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context

LR = 1e-3
composed = functools.cache(compose)  # configs are not changed here
CLASSES = 10


class Scene(NamedTuple):
    """A model and its batches."""

    model: str
    shape: tuple[int, ...]  # of a sample
    batch: int  # training and validation alike
    steps: int  # per timing

    def __str__(self) -> str:
        return f"{self.model} ({self.batch})"


SCENES = [
    Scene("mlp", (1, 28, 28), 512, 12),
    Scene("mlp", (1, 28, 28), 128, 40),
    Scene("cnn", (1, 28, 28), 128, 2),
    Scene("lstm", (140, 1), 128, 2),
    Scene("resnet18", (1, 28, 28), 64, 1),
    Scene("resnet32", (3, 32, 32), 128, 1),
    Scene("rrm_cnn", (1, 28, 28), 128, 2),
]


@dataclass(frozen=True)
class Setup:
    """Options of the command line."""

    device: torch.device
    rounds: int
    models: Sequence[str] | None = None  # None: all

    def chosen(self, scenes: Sequence[Scene]) -> list[Scene]:
        return [scene for scene in scenes if self.models is None or scene.model in self.models]


def drawn(scene: Scene, device: torch.device, batches: int = 32) -> Resident:
    """Random rows of a scene: bytes for images, numbers for the rest."""
    generator = torch.Generator().manual_seed(0)
    count, shape = batches * scene.batch, scene.shape
    image = len(shape) == 3
    raw = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    scaled = ((0.5,) * shape[0], (0.25,) * shape[0]) if image else (None, None)
    target = torch.randint(0, CLASSES, (count,), generator=generator)
    return Resident(raw if image else raw / 128 - 1, target, *scaled, device)


def around(
    cfg: DictConfig, nets: Sequence[nn.Module], data: Resident, scene: Scene, views: Sequence[str] = ("weak",)
) -> Context:
    """Everything that training steps of some networks on some rows need."""
    options = OmegaConf.merge(cfg.train, {"batch_size": scene.batch})
    ctx = make_context(nets, data, data.normalised(), num_classes=CLASSES, options=options, views=views)
    ctx.batch_size = scene.batch
    return ctx


def parts(
    cfg: DictConfig, scene: Scene, device: torch.device, batches: int = 32, method: Method | None = None
) -> Context:
    """Random data of a scene, with everything that a step needs; method: None, one network and no further views."""
    data = drawn(scene, device, batches)
    torch.manual_seed(0)
    count, views = (1, ("weak",)) if method is None else (method.networks, method.views)
    nets = [build(cfg.model, num_classes=CLASSES, input_shape=scene.shape).to(device) for _ in range(count)]
    return around(cfg, [lay_out(net, cfg.train.channels_last, device) for net in nets], data, scene, views)


def made(cfg: DictConfig, device: torch.device) -> Method:
    """The method of a config."""
    method: Method = build(cfg.method, loss=bind(cfg.loss)).to(device)
    return method


def prepared(scene: Scene, device: torch.device, *overrides: str, batches: int = 32) -> tuple[Context, Method]:
    """A scene and the method that the overrides name, set up for its first epoch."""
    cfg = composed(f"model={scene.model}", *overrides)
    method = made(cfg, device)
    ctx = parts(cfg, scene, device, batches, method)
    method.setup(ctx)
    return ctx, method


def stepper(scene: Scene, device: torch.device, *overrides: str, batches: int = 32) -> Callable[[], None]:
    """A function that does the next training step, input path included, in one long epoch after any warm-up."""
    ctx, method = prepared(scene, device, *overrides, batches=batches)
    ctx.epoch = 10**6
    method.on_epoch_start(ctx)
    ctx.model.train()
    stream = forever(lambda: method.batches(ctx))

    def step() -> None:
        batch = next(stream)
        ctx.batch_size = len(batch.index)
        train_step(ctx, method, batch, LR)

    return step


def forever(batches: Callable[[], Iterable[Batch]]) -> Iterator[Batch]:
    """Batches of as many rows as the first of a pass has, pass after pass.

    Raises:
        ValueError: a pass has none.
    """
    while True:
        size = 0
        for batch in batches():
            size = size or len(batch.index)
            if len(batch.index) == size:
                yield batch
        if not size:
            raise ValueError("a pass over the training rows has no batch")
