"""What the user's own images have in common, wherever they lie: parts, frame, levels, and whether memory holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.new_rows.images import ImageReader
from lilawbench.loading.image_files import ImageFiles, check_frame, file_ids
from lilawbench.loading.split import class_rows, stratified_test
from lilawbench.support.plain import Options

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class OwnImages(Dataset):
    """Images and one class each, as people have them.

    Without test images a part of the training images is set aside to test on; validation images are the validation
    rows, whatever split.val_fraction says. Which labels are right is unknown: what needs clean labels is left out of
    the record, unless noise is added to them. Images of up to `resident_gb` in all are decoded once and stay in memory
    as uint8; more are decoded batch by batch.

    Args:
        path: the folder or file; as it is, or below the data folder.
        size: side of the square that the network sees, pixels. resize: shorter side before the cut to the centre
            square, >= size; None: size.
        channels: 3 (colour) | 1 (grey).
        test_fraction: without test images, the part to test on, in (0, 1). split_seed: of its draw.
        resident_gb: GiB of decoded images to hold in memory; 0: none.
        threads: number of decoding threads; None: one per core, at most 8.
        imbalance, per_class: as every `Dataset`.
        white: the value > 0 that becomes 255 in images of 16 or more bits and of floats; None: what fits a sample of
            the images, see `pixels.levels_of`.
        background: the grey level, 0..255, behind transparent pixels; None: 255, or 0 if what is drawn is nearly white.
    Raises:
        ValueError: an option out of range. DataError, from `load`: a file or label is at fault.
    """

    num_classes: int | None = None
    official_val: bool | None = None
    by_hand = True

    def __init__(
        self,
        path: str,
        size: int = 64,
        resize: int | None = None,
        channels: int = 3,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        resident_gb: float = 2.0,
        threads: int | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
        white: float | None = None,
        background: int | None = None,
    ):
        super().__init__(None, imbalance, per_class)
        check_frame(size, resize, channels, threads)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
        if not resident_gb >= 0:
            raise ValueError(f"resident_gb is {resident_gb}; it must be >= 0")
        if white is not None and not 0 < white < float("inf"):
            raise ValueError(f"white is {white}; it must be null or a number > 0")
        if background is not None and not (isinstance(background, int) and 0 <= background <= 255):
            raise ValueError(f"background is {background}; it must be null or a grey level, 0 to 255")
        self.path, self.test_fraction, self.split_seed = Path(path), test_fraction, split_seed
        self.frame: Options = {"size": size, "resize": resize, "channels": channels, "threads": threads}
        self.white, self.background = white, background
        self.resident_bytes = resident_gb * 2**30

    def with_test(self, label: Mapping[str, np.ndarray], names: Sequence[str], where: str) -> dict[str, np.ndarray]:
        """Rows of each part, among all rows of the parts in their order; test rows are drawn where there are none.

        Args:
            label: of train and, if they are there, val and test, [N] int64. names: of classes. where: for messages.
        Raises:
            DataError: a class has too few training rows.
        """
        first = np.cumsum([0, *(len(part) for part in label.values())])
        rows = {part: np.arange(start, stop) for part, start, stop in zip(label, first, first[1:])}
        if "test" in label:
            class_rows(label["train"], names, 1, where)
        else:
            train, test = stratified_test(label["train"], names, self.test_fraction, self.split_seed, where)
            rows["train"], rows["test"] = rows["train"][train], rows["train"][test]
        return rows

    def source_of(
        self, images: ImageFiles, label: np.ndarray, rows: Mapping[str, np.ndarray], class_names: Sequence[str]
    ) -> Source:
        """The images in memory or in their files.

        Args:
            images, label: of all parts. rows: of each part, `with_test`.
        Raises:
            DataError: images cannot be read.
        """
        images.level(self.white, self.background)
        input: dict[str, torch.Tensor | ImageFiles]
        used = np.concatenate(list(rows.values()))
        if len(used) * np.prod(images.shape[1:]) <= self.resident_bytes:
            first = np.cumsum([len(part) for part in rows.values()])[:-1]
            resident = images[used].load().tensor_split(first.tolist())
            mean, std = channel_statistics(resident[list(rows).index("train")])
            input = dict(zip(rows, resident))
        else:
            images[images.sample()].load()  # what is wrong with all of them is found before training, not within
            input = {part: images[of] for part, of in rows.items()}
            mean, std = (IMAGENET_MEAN, IMAGENET_STD) if images.channels == 3 else ((0.5,), (0.25,))
        ids = {part: file_ids(images.names[of]) for part, of in rows.items()}
        return Source(
            input["train"],
            label[rows["train"]],
            input["test"],
            label[rows["test"]],
            tuple(class_names),
            mean,
            std,
            val_input=input.get("val"),
            val_clean=label[rows["val"]] if "val" in rows else None,
            train_ids=ids["train"],
            val_ids=ids.get("val"),
            test_ids=ids["test"],
            reader=ImageReader(images.shape[1:], images.resize, images.levels),
            drawn_test=len(rows["test"]) if rows["test"].min() < rows["train"].max() else 0,  # else a later part
        )


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel of uint8 images [N, C, H, W] on the 0..1 scale; a std is at least 1e-3."""
    import torch

    sums, squares = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for part in images.split(256):  # a float64 copy of all would take eight times the memory
        unit = part.double() / 255
        sums, squares = sums + unit.sum(dim=(0, 2, 3)), squares + unit.square().sum(dim=(0, 2, 3))
    mean = sums / (images.numel() / images.shape[1])
    std = (squares / (images.numel() / images.shape[1]) - mean.square()).clamp(min=1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())
