"""Speed as ratios measured side by side in one process: what a method, the input path and the threads cost.

    python scripts/bench.py                 all rows, a markdown table each
    python scripts/bench.py steps input     some of them: steps, input, threads, startup
    python scripts/bench.py steps --device cuda

Every figure is the median over rounds; in a round all candidates run in turn, so a machine that slows down slows all.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from lilawbench.config import CONF, bind, build, compose
from lilawbench.data.loaders import MetaLoader, Resident, TrainLoader
from lilawbench.data.transforms import Augment
from lilawbench.engine import runtime
from lilawbench.engine.loop import train_step
from lilawbench.engine.optim import build_optimizer
from lilawbench.methods.base import Context
from lilawbench.methods.supervised import Supervised
from lilawbench.train import forward_in

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
# model, shape of a sample, batch (training and validation alike), steps per timing
SCENES = [
    ("mlp", (1, 28, 28), 512, 12),
    ("mlp", (1, 28, 28), 128, 40),
    ("cnn", (1, 28, 28), 128, 2),
    ("lstm", (140, 1), 128, 2),
    ("resnet18", (1, 28, 28), 64, 1),
]
TARGETS = {("resnet18", "lilaw"): 1.33, ("mlp", "lilaw"): 1.60, ("lstm", "lilaw"): 1.20}


def main() -> None:
    benches = {"steps": bench_steps, "input": bench_input, "threads": bench_threads, "startup": bench_startup}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="|".join(benches), help="default: all")
    parser.add_argument("--device", default="cpu", help="cpu | cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as a lone run has)")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    if unknown := set(args.rows) - set(benches):
        parser.error(f"unknown rows {sorted(unknown)}; there are {list(benches)}")
    device = runtime.choose_device(args.device)
    threads = runtime.choose_threads(args.threads)
    runtime.prepare(device, threads, deterministic=False)
    print(f"{platform.machine()}, {runtime.device_name(device)}, {threads} thread(s), torch {torch.__version__}")
    for name in args.rows or benches:
        print(f"\n### {name}\n", flush=True)
        benches[name](device, args.rounds)


def bench_steps(device: torch.device, rounds: int) -> None:
    """A training step of each method over one of cross-entropy.

    Beside them Algorithm 1 of LiLAW in plain autograd, and the floor of every exact LiLAW: a CE step and one forward
    of a validation batch without a graph.
    """
    print("| model (batch) | CE step ms | method | step / CE step | at most |\n|---|---|---|---|---|")
    for model, shape, batch, repeats in SCENES:
        steps = {name: stepper(model, shape, batch, name, device) for name in METHODS}
        steps["Algorithm 1 in plain autograd"] = plain_algorithm_1(model, shape, batch, device)
        steps["CE and one validation forward"] = ce_and_forward(model, shape, batch, device)
        times = interleaved(steps, rounds, repeats, device)
        base = statistics.median(times["ce"]) * 1e3
        for name in steps:
            if name != "ce":
                ratio = statistics.median(a / b for a, b in zip(times[name], times["ce"], strict=True))
                target = TARGETS.get((model, name), "")
                print(f"| {model} ({batch}) | {base:.2f} | {name} | {ratio:.2f} | {target} |", flush=True)


def stepper(model: str, shape: tuple, batch: int, method: str, device: torch.device) -> Callable[[], None]:
    """A function that does the next training step of a method, input path included, after any warm-up epochs."""
    cfg = compose(f"model={model}", f"method={method}")
    ctx, loader = parts(cfg, shape, batch, device)
    rule = build(cfg.method, loss=bind(cfg.loss)).to(device)
    rule.setup(ctx)
    ctx.epoch = 10**6
    rule.on_epoch_start(ctx)
    ctx.model.train()
    stream = forever(loader)
    return lambda: train_step(ctx, rule, next(stream), 1e-3)


def ce_and_forward(model: str, shape: tuple, batch: int, device: torch.device) -> Callable[[], None]:
    """The floor: nothing that uses a validation batch can cost less."""
    ctx, loader = parts(compose(f"model={model}"), shape, batch, device)
    ctx.model.train()
    rule, stream = Supervised(), forever(loader)

    def step() -> None:
        train_step(ctx, rule, next(stream), 1e-3)
        val = ctx.meta(batch)
        with ctx.side_pass():
            ctx.forward(val.input)

    return step


def plain_algorithm_1(model: str, shape: tuple, batch: int, device: torch.device) -> Callable[[], None]:
    """Algorithm 1 line by line: requires_grad toggled on both sides, a graph for the validation loss."""
    cfg = compose(f"model={model}")
    ctx, loader = parts(cfg, shape, batch, device)
    net, stream = ctx.model.train(), forever(loader)
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
        train, val = next(stream), ctx.meta(batch)
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


def bench_input(device: torch.device, rounds: int) -> None:
    """Crop and flip of MNIST-sized images: resident batches against a DataLoader with per-sample PIL transforms."""
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12800, 1, 28, 28), dtype=np.uint8))
    target = torch.zeros(len(images), dtype=torch.int64)
    view = transforms.Compose(
        [transforms.ToPILImage(), transforms.RandomCrop(28, 2), transforms.RandomHorizontalFlip(),
         transforms.ToTensor(), transforms.Normalize(0.1307, 0.3081)]
    )  # fmt: skip

    class PerSample(Dataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            return view(images[i]), 0

    data = Resident(images, target, (0.1307,), (0.3081,), device)
    plain = TrainLoader(data, 64, seed=0)
    augmented = TrainLoader(data, 64, seed=0, augment=Augment(crop_px=2, flip=True))
    pil = DataLoader(PerSample(), batch_size=64, shuffle=True)
    epochs = {
        "resident": lambda: [None for _ in plain.epoch(1)],
        "resident, crop and flip": lambda: [None for _ in augmented.epoch(1)],
        "DataLoader, PIL crop and flip": lambda: [x.to(device) for x, _ in pil],
    }
    times = interleaved(epochs, max(3, rounds // 3), 1, device)
    print("| input path | samples per second | times the DataLoader |\n|---|---|---|")
    slow = times["DataLoader, PIL crop and flip"]
    for name, seconds in times.items():
        gain = statistics.median(b / a for a, b in zip(seconds, slow, strict=True))
        print(f"| {name} | {len(images) / statistics.median(seconds):,.0f} | {gain:.1f} |")

    step = stepper("resnet18", (1, 28, 28), 64, "ce", device)
    batches = forever(augmented)
    times = interleaved({"input": lambda: next(batches), "step": step}, rounds, 4, device)
    share = statistics.median(a / (a + b) for a, b in zip(times["input"], times["step"], strict=True))
    print(f"\nShare of the input path (crop and flip) in a resnet18 epoch, batch 64: {100 * share:.2f} % (at most 5)")


def bench_threads(device: torch.device, rounds: int) -> None:
    """A CE step with one thread over one with all that a lone run takes."""
    before, many = torch.get_num_threads(), max(2, runtime.choose_threads(None))
    print(f"| model (batch) | 1 thread ms | {many} threads ms | gain |\n|---|---|---|---|")
    for model, shape, batch, repeats in SCENES:
        step = stepper(model, shape, batch, "ce", torch.device("cpu"))

        def with_threads(count: int, step: Callable[[], None] = step) -> Callable[[], None]:
            def run() -> None:
                torch.set_num_threads(count)
                step()

            return run

        times = interleaved({"one": with_threads(1), "many": with_threads(many)}, rounds, repeats, device)
        one, all_ = (statistics.median(times[name]) * 1e3 for name in ("one", "many"))
        gain = statistics.median(a / b for a, b in zip(times["one"], times["many"], strict=True))
        print(f"| {model} ({batch}) | {one:.2f} | {all_:.2f} | {gain:.2f} |")
    torch.set_num_threads(before)


def bench_startup(device: torch.device, rounds: int) -> None:
    """Wall time of fresh processes: digits up to the line of its first epoch (20 steps), and a finished run skipped."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lilawbench.train", "train.epochs=1", f"paths.output_dir={folder}"]
        bare = [sys.executable, "-c", "import lilawbench.train"]
        starts, skips, imports = [], [], []
        for seed in range(max(3, rounds // 3)):
            with subprocess.Popen([*command, f"seed={seed}"], stdout=subprocess.PIPE, text=True) as process:
                starts.append(timed(lambda p=process: next(line for line in p.stdout if line.startswith("epoch 1/1"))))
            again = [*command, f"seed={seed}"]
            skips.append(timed(lambda c=again: subprocess.run(c, check=True, capture_output=True)))
            imports.append(timed(lambda: subprocess.run(bare, check=True)))
    print("| from the start of a process to | seconds | at most |\n|---|---|---|")
    print(f"| lilawbench.train imported | {statistics.median(imports):.2f} | |")
    print(
        f"| digits: the first epoch (20 steps) trained, evaluated and on disk | {statistics.median(starts):.2f} | 5 |"
    )
    after = statistics.median(b - a for a, b in zip(imports, skips, strict=True))
    print(f"| a finished run skipped, less the import | {after:.2f} | 1 |")


def parts(cfg, shape: tuple, batch: int, device: torch.device, classes: int = 10) -> tuple[Context, TrainLoader]:
    """Random data of a shape with everything a step needs around it."""
    generator = torch.Generator().manual_seed(0)
    count = 32 * batch
    image = len(shape) == 3
    raw = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    scaled = ((0.5,) * shape[0], (0.25,) * shape[0]) if image else (None, None)
    target = torch.randint(0, classes, (count,), generator=generator)
    data = Resident(raw if image else raw / 128 - 1, target, *scaled, device)
    torch.manual_seed(0)
    net = build(cfg.model, num_classes=classes, input_shape=shape).to(device)
    ctx = Context(
        model=net,
        forward=forward_in(cfg.train.precision, net, device),
        optimizer=build_optimizer(net.parameters(), cfg.train, device),
        sweep=data.in_order,
        meta=MetaLoader(data.normalised(), 0),
        num_train=count,
        num_classes=classes,
        device=device,
    )
    return ctx, TrainLoader(data, batch, 0)


def forever(loader: TrainLoader):
    epoch = 0
    while True:
        epoch += 1
        yield from loader.epoch(epoch)


def interleaved(
    candidates: dict[str, Callable[[], object]], rounds: int, repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds per call of each candidate, one figure a round, after a warm-up; the order turns from round to round."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds = timed(lambda n=name: [candidates[n]() for _ in range(repeats)], device)
            if number:
                times[name].append(seconds / repeats)
    return times


def timed(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Wall seconds, the device's queue emptied before and after."""
    wait = torch.cuda.synchronize if device is not None and device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
