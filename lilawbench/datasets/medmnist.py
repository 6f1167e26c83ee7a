"""MedMNIST: biomedical images of 28 to 224 pixels in one format, with official training, validation and test rows.

Names, addresses, hashes, channels and labels are those of the medmnist package.
"""

from __future__ import annotations

import functools
import runpy
import zipfile
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.vision import Images
from lilawbench.loading.download import fetch
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch
    from numpy.lib.npyio import NpzFile

    from lilawbench.support.plain import Options

SIZES = (28, 64, 128, 224)


class MedMNIST(Images):
    """One of the 2-D sets, grey or colour. Multi-class, binary and ordinal labels (RetinaMNIST) are classes alike;
    ChestMNIST has several labels a sample.

    The official validation rows are the validation (meta) set. Mean and std are .5, as in MedMNIST's own code.

    Args:
        flag: medmnist's name of the set, e.g. "pathmnist".
        size: of the images in pixels, 28, 64, 128 or 224; each is a file of its own.
        classes, imbalance, per_class, pixels: see `Images`.
    Raises:
        ValueError: any of these out of range.
    Source: Yang et al. 2023 (MedMNIST v2); Doerrich et al. 2024 (the larger sizes).
    """

    official_val = True

    def __init__(
        self,
        flag: str = "breastmnist",
        size: int = 28,
        classes: Sequence[int] | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
        pixels: str = "standard",
    ):
        known = {name: info for name, info in catalogue().items() if not name.endswith("3d")}
        if flag not in known:
            raise ValueError(f"flag is {flag!r}; it must be one of {', '.join(known)}")
        if size not in SIZES:
            raise ValueError(f"size is {size}; it must be one of {', '.join(map(str, SIZES))}")
        self.flag, self.size, self.info = flag, size, known[flag]
        if "multi-label" in self.info["task"]:
            self.task = "multilabel"
        self.num_classes = len(self.info["label"])
        self.mean = self.std = (0.5,) * self.info["n_channels"]
        super().__init__(classes, imbalance, per_class, pixels)

    def load(self, data_dir: Path | None) -> Source:
        variant = "" if self.size == 28 else f"_{self.size}"
        url, md5 = self.info[f"url{variant}"], self.info[f"MD5{variant}"]
        path = fetch(f"medmnist/{self.flag}{variant}.npz", [url], md5, data_dir)
        try:
            with np.load(path, allow_pickle=False) as content:
                parts = {name: self._checked(path, name, content) for name in ("train", "val", "test")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        return Source(
            *parts["train"],
            *parts["test"],
            tuple(self.info["label"].values()),
            *self.scale,
            val_input=parts["val"][0],
            val_clean=parts["val"][1],
            clean_known=True,
        )

    def _checked(self, path: Path, part: str, content: NpzFile) -> tuple[torch.Tensor, np.ndarray]:
        """Images [N, C, H, W] uint8 and labels as `Source` has them, from [N, H, W] or [N, H, W, 3] and [N, 1 or K]."""
        import torch

        images, labels = content[f"{part}_images"], content[f"{part}_labels"]
        num_classes, side, colour = len(self.info["label"]), self.size, self.info["n_channels"] == 3
        shape = (len(labels), side, side, 3) if colour else (len(labels), side, side)
        several = self.task == "multilabel"
        width, top = (num_classes, 1) if several else (1, num_classes - 1)
        if images.dtype != np.uint8 or images.shape != shape or labels.shape != (len(labels), width):
            raise DataError(
                f"{path}: {part} has {images.dtype} images {list(images.shape)} and labels {list(labels.shape)}, "
                f"expected uint8 images [N, {', '.join(map(str, shape[1:]))}] and labels [N, {width}]"
            )
        if not np.isin(labels, np.arange(top + 1)).all():
            raise DataError(f"{path}: {part} has a label {labels.max()}; they must be 0 to {top}")
        pixels = torch.from_numpy(images)
        pixels = pixels.permute(0, 3, 1, 2).contiguous() if colour else pixels.unsqueeze(1)
        return pixels, (labels if several else labels[:, 0]).astype(np.int64)


@functools.cache
def catalogue() -> dict[str, Options]:
    """INFO of the medmnist package, by flag. Only that file is run: the package imports pandas and scikit-learn."""
    package = find_spec("medmnist")
    if package is None or package.origin is None:
        raise DataError("the package medmnist is not installed: install the one that the project pins")
    content = runpy.run_path(str(Path(package.origin).with_name("info.py")))
    known: dict[str, Options] = content["INFO"]
    return known
