"""The user's own features: an .npz file per source, and which sources train, validate and test."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.scale import standardised
from lilawbench.loading.download import at_hand
from lilawbench.loading.split import stratified
from lilawbench.support.errors import DataError
from lilawbench.tasks import TASKS

META_FRACTION = 0.15  # of a source that trains and validates


class Part(NamedTuple):
    """The arrays of one file."""

    features: np.ndarray  # [N, D] float32
    target: np.ndarray  # as `Source` has it
    group: np.ndarray | None  # [N] str


class Embeddings(Dataset):
    """Features of another network with their targets, from files that the user names.

    Each .npz has `features` [N, D] and `target`: whole numbers 0..K-1 [N], 0 and 1 [N, K] or values [N]; and, if
    wanted, `group` [N], names of groups of people. Features are standardised by the training rows.

    Args:
        sources: name -> .npz file, as it is or below the data folder.
        train: names of the sources to train on. test: to test on.
        meta: names of those to validate on; of one that also trains, a fixed 15 % validates and the rest trains. None:
            split.val_fraction of the training rows, as usual.
        task: multiclass, multilabel or regression; two classes are binary.
        num_classes: K, of classes or labels; None for values.
        target_range: R of values (LiLAW, A.7); None: the range of the training values.
        standardise: False leaves the features as they are.
    Raises:
        ValueError: an option out of range, or a name that is no source.
    Source: LiLAW, A.21 (pain: values, R = 16) and A.22 (gait: 512 features, four classes).
    """

    num_classes: int
    by_hand = True

    def __init__(
        self,
        sources: Mapping[str, str],
        train: Sequence[str],
        test: Sequence[str],
        meta: Sequence[str] | None = None,
        task: str = "multiclass",
        num_classes: int | None = None,
        target_range: float | None = None,
        standardise: bool = True,
    ):
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; it must be one of {', '.join(TASKS)}")
        if task == "regression":
            num_classes = 1
        elif not isinstance(num_classes, int) or num_classes < (1 if task == "multilabel" else 2):
            raise ValueError(f"num_classes is {num_classes}; {task} data need their number of classes or labels")
        if not isinstance(sources, Mapping):  # a shell makes two words of {a:a.npz,b:b.npz}
            raise ValueError(
                f"sources is {sources}; it must name files: 'dataset.sources={{a:a.npz,b:b.npz}}', in quotes"
            )
        if target_range is not None and not (task == "regression" and 0 < target_range < np.inf):
            raise ValueError(f"target_range is {target_range}; it must be null, or > 0 with task=regression")
        for option, names in (("train", train), ("test", test), ("meta", meta)):
            if names is None and option == "meta":
                continue
            if isinstance(names, str) or not names or len(set(names)) < len(names) or set(names) - set(sources):
                raise ValueError(f"{option} is {names}; it must list sources, each once, of {list(sources)}")
        if both := set(test) & (set(train) | set(meta or ())):
            raise ValueError(f"{sorted(both)[0]} is in test and in train or meta: test rows must not be learned from")
        self.task, self.num_classes, self.official_val = task, num_classes, meta is not None
        self.sources, self.target_range, self.standardise = dict(sources), target_range, standardise
        self.train, self.test, self.meta = list(train), list(test), None if meta is None else list(meta)
        super().__init__()

    def load(self, data_dir: Path | None) -> Source:
        parts = {
            name: self._read(name, data_dir) for name in dict.fromkeys([*self.train, *self.test, *(self.meta or [])])
        }
        widths = {name: part.features.shape[1] for name, part in parts.items()}
        if len(set(widths.values())) > 1:
            raise DataError(f"the sources have different numbers of features: {widths}")
        train, val, test = (_joined(rows) for rows in self._divided(parts))
        inputs = [part.features for part in (train, val, test)]
        import torch

        scaled = standardised(*inputs) if self.standardise else tuple(map(torch.from_numpy, inputs))
        source_of_row = np.repeat(self.test, [len(parts[name].target) for name in self.test])
        groups = {"source": source_of_row} if len(self.test) > 1 else {}
        groups |= {} if test.group is None else {"group": test.group}
        span = float(np.ptp(train.target)) if self.task == "regression" else None
        return Source(
            train_input=scaled[0],
            train_clean=train.target,
            test_input=scaled[2],
            test_clean=test.target,
            class_names=("value",) if self.task == "regression" else tuple(map(str, range(self.num_classes))),
            test_groups=groups,
            target_range=self.target_range or span,
            val_input=None if self.meta is None else scaled[1],
            val_clean=None if self.meta is None else val.target,
        )

    def _divided(self, parts: dict[str, Part]) -> tuple[list[Part], list[Part], list[Part]]:
        """Rows that train, that validate, and that test."""
        train, val = [], []
        for name in dict.fromkeys([*self.train, *(self.meta or [])]):
            part = parts[name]
            if name in self.train and name in (self.meta or []):
                rest, taken = stratified(part.target, META_FRACTION, np.random.default_rng(0))
                train.append(_rows(part, rest))
                val.append(_rows(part, taken))
            else:
                (train if name in self.train else val).append(part)
        none = _rows(parts[self.train[0]], np.arange(0))
        return train, val or [none], [parts[name] for name in self.test]

    def _read(self, name: str, data_dir: Path | None) -> Part:
        path = Path(self.sources[name])
        if data_dir is not None and not path.exists():
            path = Path(data_dir) / path
        if not path.is_file():
            raise DataError(f"dataset.sources.{name}: there is no file {path}")
        at_hand(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files if key in ("features", "target", "group")}
        except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
            raise DataError(f"{path} is not an .npz file of plain arrays: {error}") from error
        for key in ("features", "target"):
            if key not in arrays:
                raise DataError(f"{path} has no array {key!r}; it needs features [N, D] and target, and may have group")
        features, group = arrays["features"], arrays.get("group")
        if features.ndim != 2 or features.dtype.kind not in "fiu" or not np.isfinite(features).all():
            raise DataError(f"{path}: features are {_told(features)}; they must be finite numbers [N, D]")
        target = self._checked_target(arrays["target"], len(features), path)
        if group is not None and group.shape != (len(features),):
            raise DataError(f"{path}: group is {_told(group)}; there are {len(features)} rows of features")
        return Part(features.astype(np.float32), target, None if group is None else group.astype(str))

    def _checked_target(self, target: np.ndarray, count: int, path: Path) -> np.ndarray:
        shape = (count, self.num_classes) if self.task == "multilabel" else (count,)
        kinds = "fiu" if self.task == "regression" else "iub"
        if target.shape != shape or target.dtype.kind not in kinds:
            wanted = {"multilabel": "0 or 1", "regression": "numbers"}.get(self.task, "whole numbers")
            raise DataError(f"{path}: target is {_told(target)}; {self.task} data want {wanted} {list(shape)}")
        if self.task == "regression":
            if not np.isfinite(target).all():
                raise DataError(f"{path}: target is not finite in row {np.flatnonzero(~np.isfinite(target))[0]}")
            return target.astype(np.float32)
        top = 1 if self.task == "multilabel" else self.num_classes - 1
        wrong = (target < 0) | (target > top)
        if wrong.any():
            row = np.argwhere(wrong)[0]
            raise DataError(f"{path}: target is {target[tuple(row)]} in row {row[0]}; it must lie in 0..{top}")
        return target.astype(np.int64)


def _rows(part: Part, rows: np.ndarray) -> Part:
    return Part(part.features[rows], part.target[rows], None if part.group is None else part.group[rows])


def _joined(parts: list[Part]) -> Part:
    """All rows; groups only where every part has some."""
    groups = [part.group for part in parts if part.group is not None]
    return Part(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.target for part in parts]),
        np.concatenate(groups) if len(groups) == len(parts) else None,
    )


def _told(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
