"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images of 32x32 pixels in 10 or 100 classes.

The files are torchvision's own (names, folders, mirror, hashes). They are pickles, which can run code when they are
read: each is read only after its md5 was checked. The names are repeated here because importing torchvision
takes a second and imports torch.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.vision import Images
from lilawbench.loading.download import fetch
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    from lilawbench.support.plain import Options


class Cifar(Images):
    """A data set of CIFAR's python version. A subclass gives the constants, md5s of its files among them.

    Args: see `Images`. `imbalance` makes the long-tailed CIFAR-10-LT and CIFAR-100-LT.
    """

    num_classes: int
    folder: ClassVar[str]
    url: ClassVar[str]
    train_files: ClassVar[dict[str, str]]
    test_files: ClassVar[dict[str, str]]
    names_file: ClassVar[dict[str, str]]
    names_key: ClassVar[str]

    def load(self, data_dir: Path | None) -> Source:
        def find(files: dict[str, str]) -> list[Path]:
            return [fetch(f"{self.folder}/{file}", [self.url], md5, data_dir, file) for file, md5 in files.items()]

        train, test = ([self._read(path) for path in find(files)] for files in (self.train_files, self.test_files))
        train_input, train_clean, test_input, test_clean = (
            np.concatenate([batch[i] for batch in batches]) for batches in (train, test) for i in (0, 1)
        )
        [meta] = find(self.names_file)
        class_names = _unpickled(meta).get(self.names_key, [])
        if len(class_names) != type(self).num_classes:
            raise DataError(f"{meta}: {len(class_names)} class names, expected {type(self).num_classes}")
        import torch

        return Source(
            torch.from_numpy(train_input),
            train_clean,
            torch.from_numpy(test_input),
            test_clean,
            tuple(class_names),
            *self.scale,
            clean_known=True,
        )

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Images [N, 3, 32, 32] uint8 and labels [N] int64."""
        content = _unpickled(path)
        pixels = np.asarray(content.get("data"))
        labels = np.asarray(content.get("labels", content.get("fine_labels")))
        fits = pixels.dtype == np.uint8 and labels.ndim == 1 and pixels.shape == (len(labels), 3072)
        if not fits or not np.isin(labels, np.arange(type(self).num_classes)).all():
            raise DataError(
                f"{path}: expected uint8 pixels [N, 3072] and N labels from 0 to {type(self).num_classes - 1}, found "
                f"{pixels.dtype} {list(pixels.shape)} and {_span(labels)}"
            )
        return pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64)


class CIFAR10(Cifar):
    """Ten kinds of animals and vehicles, 5,000 + 1,000 images each. Mean and std are those of the training pixels.

    Source: Krizhevsky 2009.
    """

    num_classes = 10
    folder, url = "cifar-10-batches-py", "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    train_files: ClassVar = {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    }
    test_files: ClassVar = {"test_batch": "40351d587109b95175f43aff81a1287e"}
    names_file: ClassVar = {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"}
    names_key = "label_names"
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class CIFAR100(Cifar):
    """A hundred fine classes, 500 + 100 images each. Mean and std are those of the training pixels.

    Source: Krizhevsky 2009.
    """

    num_classes = 100
    folder, url = "cifar-100-python", "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    train_files: ClassVar = {"train": "16019d7e3df5f24257cddd939b257f8d"}
    test_files: ClassVar = {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}
    names_file: ClassVar = {"meta": "7973b15100ade9c7d40fb424638fde48"}
    names_key = "fine_label_names"
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


def _unpickled(verified: Path) -> Options:
    """What Python 2 pickled into a file whose hash is right."""
    with verified.open("rb") as file, warnings.catch_warnings():
        # NumPy of 2009 wrote a dtype's `align` as 0; since 2.4 NumPy warns unless it is False
        warnings.filterwarnings(
            "ignore", "dtype\\(\\): align should be passed", np.exceptions.VisibleDeprecationWarning
        )
        return pickle.load(file, encoding="latin1")


def _span(labels: np.ndarray) -> str:
    return (
        f"{labels.size} labels from {labels.min()} to {labels.max()}"
        if labels.ndim == 1 and labels.size
        else "no labels"
    )
