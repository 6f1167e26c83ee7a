"""The cost of a training step of each method."""

import textwrap
from collections.abc import Callable

import torch

from benchmarks.scenes import LR, SCENES, Scene, Setup, forever, parts, stepper
from benchmarks.timing import interleaved, milliseconds, ratio
from lilawbench.config import CONF, compose
from lilawbench.engine.loop import train_step
from lilawbench.methods.supervised import Supervised
from lilawbench.support.errors import UserError

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
LIMITS = {
    ("resnet18", "lilaw"): 1.33,
    ("mlp", "lilaw"): 1.55,
    ("lstm", "lilaw"): 1.20,
    ("resnet32", "a_rrm"): 1.95,
    ("rrm_cnn", "a_rrm"): 2.2,
    ("resnet32", "dynamic_loss"): 4.0,
    ("resnet32", "l2rw"): 3.0,
    ("resnet32", "mw_net"): 4.0,
}


def bench_steps(setup: Setup) -> None:
    """A training step of each method relative to cross-entropy; "-" and the reason where a method cannot do one.

    Also LiLAW's Algorithm 1 in plain autograd, and the least that an exact LiLAW can cost: a CE step and a forward of
    a validation batch without a graph.
    """
    print("| model (batch) | CE step ms | method | step / CE step | at most |\n|---|---|---|---|---|")
    for scene in setup.chosen(SCENES):
        steps, refused = method_steps(scene, setup.device)
        references = {
            "Algorithm 1 in plain autograd": plain_algorithm_1(scene, setup.device),
            "CE and one validation forward": ce_and_forward(scene, setup.device),
        }
        times = interleaved(steps | references, setup.rounds, scene.steps, setup.device)
        base = milliseconds(times["ce"])
        for name in [*METHODS, *references]:
            if name != "ce":
                shown = f"- ({refused[name]})" if name in refused else f"{ratio(times[name], times['ce']):.2f}"
                limit = LIMITS.get((scene.model, name), "")
                print(f"| {scene} | {base:.2f} | {name} | {shown} | {limit} |", flush=True)


def method_steps(scene: Scene, device: torch.device) -> tuple[dict[str, Callable[[], None]], dict[str, str]]:
    """The steps of all methods that can do one in this scene, and the reasons of the others."""
    steps, refused = {}, {}
    for name in METHODS:
        try:
            step = stepper(scene, device, f"method={name}")
            step()
            steps[name] = step
        except (UserError, ValueError, RuntimeError) as error:
            if name == "ce":
                raise
            reason = " ".join(str(error).replace("|", "/").split())
            refused[name] = textwrap.shorten(reason or type(error).__name__, 200)
    return steps, refused


def ce_and_forward(scene: Scene, device: torch.device) -> Callable[[], None]:
    """The least that a method with a validation batch can cost."""
    ctx = parts(compose(f"model={scene.model}"), scene, device)
    ctx.model.train()
    rule, stream = Supervised(), forever(ctx.training_batches)

    def step() -> None:
        train_step(ctx, rule, next(stream), LR)
        val = ctx.meta(scene.batch)
        with ctx.side_pass():
            ctx.forward(val.input)

    return step


def plain_algorithm_1(scene: Scene, device: torch.device) -> Callable[[], None]:
    """Algorithm 1 line by line: requires_grad is toggled on both sides, and the validation loss has a graph."""
    ctx = parts(compose(f"model={scene.model}"), scene, device)
    net, stream = ctx.model.train(), forever(ctx.training_batches)
    abc = [torch.tensor(v, device=device) for v in (10.0, 2.0, 6.0)]

    def weighted(input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = net(input)
        s = logits.softmax(1)
        s_y, s_max = s.gather(1, target[:, None])[:, 0], s.max(1).values
        alpha, beta, delta = abc
        weight = torch.sigmoid(alpha * s_y - s_max) + torch.sigmoid(-(beta * s_y - s_max))
        weight = weight + torch.exp(-((delta * s_y - s_max) ** 2) / 2)
        return (weight * torch.nn.functional.cross_entropy(logits, target, reduction="none")).mean()

    def toggle(meta: bool) -> None:
        for p in net.parameters():
            p.requires_grad_(not meta)
        for p in abc:
            p.requires_grad_(meta)

    def step() -> None:
        train, val = next(stream), ctx.meta(scene.batch)
        toggle(meta=False)
        weighted(train.input, train.target).backward()
        ctx.optimizer.step()
        ctx.optimizer.zero_grad()
        toggle(meta=True)
        weighted(val.input, val.target).backward()
        with torch.no_grad():
            for p in abc:
                p -= 0.005 * (p.grad + 1e-4 * p)
                p.grad = None

    return step
