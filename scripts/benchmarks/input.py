"""The cost of the input path."""

import statistics
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.scenes import Scene, Setup, forever, stepper
from benchmarks.timing import interleaved, ratio
from lilawbench.augment.transforms import Augment
from lilawbench.loading.batches import TrainLoader
from lilawbench.loading.resident import Resident

BATCH = 128
WORKERS = (0, 2)
# on images of 32 px: our augmentation, resize_px, and how many images are timed
VIEWS = {
    "crop, flip": (Augment(crop_px=4, flip=True), None, 5120),
    "crop, flip, AutoAugment": (Augment(crop_px=4, flip=True, policy="cifar10"), None, 5120),
    "crop, flip, 224 px": (Augment(crop_px=4, flip=True), 224, 512),
}
CIFAR = 50_000  # images in an epoch
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class PerSample(Dataset):
    """PIL images, each through a torchvision transform, as in a DataLoader's workers."""

    def __init__(self, images: np.ndarray, transform: Any):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[i])), 0


def bench_input(setup: Setup) -> None:
    """CIFAR-sized images: resident batches against a DataLoader with per-sample PIL transforms; share of an epoch."""
    device, rounds = setup.device, max(3, setup.rounds // 3)
    print("| view of 50,000 images of 32 px | " + " | ".join(("ours, s", *map(_loader_name, WORKERS))) + " |")
    print("|---|---" + "|---" * len(WORKERS) + "|")
    for name, (augment, side, count) in VIEWS.items():
        times = interleaved(_epochs(augment, side, count, device), rounds, 1, device)
        cells = [f"{CIFAR / count * statistics.median(times['ours']):.2f}"]
        for workers in WORKERS:
            slow = times[workers]
            cells.append(
                f"{CIFAR / count * statistics.median(slow):.1f} s, {ratio(slow, times['ours']):.1f} times ours"
            )
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nBatch {BATCH}; figures are scaled up from 512 to 5,120 images, with workers already started.")

    step = stepper(Scene("resnet18", (1, 28, 28), 64, 4), device, "method=ce")
    images, target = torch.randint(0, 256, (12800, 1, 28, 28), dtype=torch.uint8), torch.zeros(12800, dtype=torch.int64)
    data = Resident(images, target, (0.1307,), (0.3081,), device)
    loader = TrainLoader(data, 64, seed=0, augment=Augment(crop_px=2, flip=True))
    batches = forever(lambda: loader.epoch(1))
    times = interleaved({"input": lambda: next(batches), "step": step}, setup.rounds, 4, device)
    share = statistics.median(a / (a + b) for a, b in zip(times["input"], times["step"], strict=True))
    print(f"\nShare of the input path (crop and flip) in a resnet18 epoch, batch 64: {100 * share:.2f} % (at most 5)")


def _loader_name(workers: int) -> str:
    return f"DataLoader, {workers} workers" if workers else "DataLoader in this process"


def _epochs(augment: Augment, side: int | None, count: int, device: torch.device) -> dict[Any, Any]:
    """An epoch of ours, and of DataLoaders by number of workers, which persist between epochs."""
    from torchvision import transforms as T

    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    view = [T.RandomCrop(32, augment.crop_px), T.RandomHorizontalFlip()]
    view += [T.AutoAugment(T.AutoAugmentPolicy(augment.policy))] if augment.policy else []
    view += [T.Resize(side)] if side else []
    samples = PerSample(images, T.Compose([*view, T.ToTensor(), T.Normalize(MEAN, STD)]))
    loaders = {
        workers: DataLoader(samples, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        for workers in WORKERS
    }
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    data = Resident(pixels, torch.zeros(count, dtype=torch.int64), MEAN, STD, device, side)
    ours = TrainLoader(data, BATCH, seed=0, augment=augment)
    return {
        "ours": lambda: [None for _ in ours.epoch(1)],
        **{w: lambda loader=loader: [x.to(device) for x, _ in loader] for w, loader in loaders.items()},
    }
