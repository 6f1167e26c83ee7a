"""What the input path costs."""

import statistics

import numpy as np
import torch

from benchmarks.scenes import Scene, Setup, forever, stepper
from benchmarks.timing import interleaved, ratio
from lilawbench.data.loaders import Resident, TrainLoader
from lilawbench.data.transforms import Augment


def bench_input(setup: Setup) -> None:
    """Crop and flip of MNIST-sized images: resident batches against a DataLoader with per-sample PIL transforms."""
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    device = setup.device
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
    times = interleaved(epochs, max(3, setup.rounds // 3), 1, device)
    print("| input path | samples per second | times the DataLoader |\n|---|---|---|")
    slow = times["DataLoader, PIL crop and flip"]
    for name, seconds in times.items():
        print(f"| {name} | {len(images) / statistics.median(seconds):,.0f} | {ratio(slow, seconds):.1f} |")

    step = stepper(Scene("resnet18", (1, 28, 28), 64, 4), device, "method=ce")
    batches = forever(augmented)
    times = interleaved({"input": lambda: next(batches), "step": step}, setup.rounds, 4, device)
    share = statistics.median(a / (a + b) for a, b in zip(times["input"], times["step"], strict=True))
    print(f"\nShare of the input path (crop and flip) in a resnet18 epoch, batch 64: {100 * share:.2f} % (at most 5)")
