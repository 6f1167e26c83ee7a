"""scikit-learn's digits: real handwritten 8x8 digits that come with the library, nothing to download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.loading.download import at_hand
from lilawbench.loading.split import stratified
from lilawbench.support.errors import DataError

GREY_STEP = 15  # digits have 17 grey levels, 0..16: stored as 0, 15, .. 240, so level = pixel // 15


class Digits(Dataset):
    """1,797 digits, 1,438 to train and 359 to test: small enough to train on in seconds.

    There is no official split: the test rows are a fixed, stratified fifth, the same for every seed.

    Source: sklearn.datasets.load_digits = the test part of UCI "Optical Recognition of Handwritten Digits".
    """

    num_classes = 10

    def load(self, data_dir: Path | None = None) -> Source:
        """Reads the file inside scikit-learn. `data_dir` is not used.

        Raises:
            DataError: the installed scikit-learn has no such file.
        """
        table = _read_bundled()
        import torch

        images = torch.from_numpy(GREY_STEP * table[:, :64].reshape(-1, 1, 8, 8))
        target = table[:, 64].astype(np.int64)
        train, test = stratified(target, 0.2, np.random.default_rng(0))
        unit = images[train].double() / 255
        return Source(
            train_input=images[train],
            train_clean=target[train],
            test_input=images[test],
            test_clean=target[test],
            class_names=tuple("0123456789"),
            mean=(unit.mean().item(),),
            std=(unit.std(correction=0).item(),),
            clean_known=True,
        )


def _read_bundled() -> np.ndarray:
    """Pixels (64 columns, 0..16) and label, [1797, 65] uint8.

    `load_digits` reads the same file, but importing sklearn takes over a second, a quarter of the time to a run's first
    step.
    """
    package = find_spec("sklearn")
    origin = package and package.origin
    path = origin and Path(origin).with_name("datasets") / "data" / "digits.csv.gz"
    if not path or not path.is_file():
        raise DataError(f"scikit-learn's digits are not at {path}: install the scikit-learn that the project pins")
    at_hand(path)
    return np.loadtxt(path, delimiter=",", dtype=np.uint8)
