"""Random data sets for whole runs, shaped like real ones but without files."""

from pathlib import Path

import numpy as np
import torch

from lilawbench.datasets.base import Dataset, Source


class Drawn(Dataset):
    """Random classes that differ in their means.

    Args:
        shape: of a sample; three numbers are an image's. rows: to train and validate on. tests: to test on.
    """

    def __init__(self, shape: list[int], rows: int, tests: int, num_classes: int = 4):
        self.shape, self.rows, self.tests, self.num_classes = shape, rows, tests, num_classes
        super().__init__()

    def load(self, data_dir: Path | None) -> Source:
        draw, image = np.random.default_rng(0), len(self.shape) == 3
        means = draw.normal(size=(self.num_classes, *self.shape))
        parts = {}
        for name, count in (("train", self.rows), ("test", self.tests)):
            clean = np.arange(count) % self.num_classes
            input = means[clean] + draw.normal(size=(count, *self.shape))
            input = (128 + 32 * input).clip(0, 255).astype(np.uint8) if image else input.astype(np.float32)
            parts |= {f"{name}_input": torch.from_numpy(input), f"{name}_clean": clean}
        scale = {"mean": (0.5,) * self.shape[0], "std": (0.25,) * self.shape[0]} if image else {}
        return Source(**parts, class_names=tuple(f"class {k}" for k in range(self.num_classes)), **scale)
