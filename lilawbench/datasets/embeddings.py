"""The user's own features: one .npz file, or an .npz file per source and which sources train, validate and test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.datasets.arrays import Arrays
from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.new_rows.arrays import ArrayReader
from lilawbench.datasets.npz import Npz, told
from lilawbench.datasets.scale import Scale
from lilawbench.loading.split import stratified
from lilawbench.support.errors import DataError
from lilawbench.tasks import TASKS

META_FRACTION = 0.15  # of a source that trains and validates


class Part(NamedTuple):
    """The arrays of one file."""

    features: np.ndarray  # [N, D] float32
    target: np.ndarray  # as `Source` has it
    clean: np.ndarray  # the right targets; the same where those are not known
    ids: np.ndarray  # [N] str
    group: np.ndarray | None  # [N] str


class Embeddings(Dataset):
    """Features of another network with their targets, from files that the user names.

    One file, `path`, is laid out as that of `Arrays`, with `train_features` [N, D] and `train_labels`. Or each source
    has an .npz with `features` [N, D] and `target`: whole numbers 0..K-1 [N], 0 and 1 [N, K] or values [N]; and, if
    wanted, `clean` (the right targets, to measure by), `ids` of rows, and `group`, names of groups of people. Features
    are standardised by the training rows.

    Args:
        sources: name -> .npz file, as it is or below the data folder.
        train: names of the sources to train on. test: to test on.
        meta: names of those to validate on; of one that also trains, a fixed 15 % validates and the rest trains. None:
            split.val_fraction of the training rows, as usual.
        path: one file instead of all these.
        clean: the array with the right targets (of `path`: train_NAME), such as `target` where they are known to be
            right. None: `clean`, if each source that trains or validates has it, else nobody knows them.
        task: multiclass, multilabel or regression; two classes are binary.
        num_classes: K of the sources, of classes or labels; None for values, and for `path`.
        target_range: R of values (LiLAW, A.7); None: the range of the training values.
        standardise: False leaves the features as they are.
    Raises:
        ValueError: an option out of range, or a name that is no source.
    Source: LiLAW, A.21 (pain: values, R = 16) and A.22 (gait: 512 features, four classes).
    """

    num_classes: int | None
    by_hand = True

    def __init__(
        self,
        sources: Mapping[str, str] | None = None,
        train: Sequence[str] | None = None,
        test: Sequence[str] | None = None,
        meta: Sequence[str] | None = None,
        path: str | None = None,
        clean: str | None = None,
        task: str = "multiclass",
        num_classes: int | None = None,
        target_range: float | None = None,
        standardise: bool = True,
    ):
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; it must be one of {', '.join(TASKS)}")
        if target_range is not None and not (task == "regression" and 0 < target_range < np.inf):
            raise ValueError(f"target_range is {target_range}; it must be null, or > 0 with task=regression")
        if (path is None) == (sources is None):
            raise ValueError("name one file (dataset.path=my.npz), or sources and which of them train and test")
        self.one_file = None
        if path is not None:
            given = {"train": train, "test": test, "meta": meta, "num_classes": num_classes}
            if more := [name for name, value in given.items() if value is not None]:
                raise ValueError(f"{more[0]} belongs to sources; the file of path tells by itself")
            task = "multiclass" if task == "binary" else task
            self.one_file = Arrays(path, clean=clean, task=task, target_range=target_range, standardise=standardise)
            self.num_classes, self.official_val = self.one_file.num_classes, None
        else:
            self._check_sources(sources, train, test, meta)
            if task == "regression":
                num_classes = 1
            elif not isinstance(num_classes, int) or num_classes < (1 if task == "multilabel" else 2):
                raise ValueError(f"num_classes is {num_classes}; {task} data need their number of classes or labels")
            self.num_classes, self.official_val = num_classes, meta is not None
            self.sources, self.train, self.test = dict(sources or {}), list(train or []), list(test or [])
        self.task, self.target_range, self.standardise, self.clean = task, target_range, standardise, clean
        self.meta = None if meta is None else list(meta)
        super().__init__()

    def _check_sources(self, sources: object, train: object, test: object, meta: object) -> None:
        if not isinstance(sources, Mapping):  # a shell makes two words of {a:a.npz,b:b.npz}
            raise ValueError(
                f"sources is {sources}; it must name files: 'dataset.sources={{a:a.npz,b:b.npz}}', in quotes"
            )
        lists: dict[str, list[str]] = {}
        for option, names in (("train", train), ("test", test), ("meta", meta)):
            if names is None and option == "meta":
                continue
            listed = list(names) if isinstance(names, Sequence) and not isinstance(names, str) else []
            if not listed or len(set(listed)) < len(listed) or set(listed) - set(sources):
                raise ValueError(f"{option} is {names}; it must list sources, each once, of {list(sources)}")
            lists[option] = listed
        if both := set(lists["test"]) & {*lists["train"], *lists.get("meta", [])}:
            raise ValueError(f"{sorted(both)[0]} is in test and in train or meta: test rows must not be learned from")

    def load(self, data_dir: Path | None) -> Source:
        if self.one_file is not None:
            source = self.one_file.load(data_dir)
            if len(source.input_shape) != 1:
                raise DataError(f"dataset.path={self.one_file.path} has no train_features [N, D]; use dataset=arrays")
            return source
        learned = dict.fromkeys([*self.train, *(self.meta or [])])
        files = {
            name: Npz(self.sources[name], data_dir, f"dataset.sources.{name}")
            for name in dict.fromkeys([*learned, *self.test])
        }
        clean = self.clean or ("clean" if all("clean" in files[name] for name in learned) else None)
        parts = {name: self._read(name, file, clean, name in learned) for name, file in files.items()}
        widths = {name: part.features.shape[1] for name, part in parts.items()}
        if len(set(widths.values())) > 1:
            raise DataError(f"the sources have different numbers of features: {widths}")
        train, val, test = (_joined(rows) for rows in self._divided(parts))
        inputs = [part.features for part in (train, val, test)]
        import torch

        scale = Scale.fitted(train.features) if self.standardise else None
        scaled = [torch.from_numpy(table) if scale is None else scale(table) for table in inputs]
        source_of_row = np.repeat(self.test, [len(parts[name].target) for name in self.test])
        groups = {"source": source_of_row} if len(self.test) > 1 else {}
        groups |= {} if test.group is None else {"group": test.group}
        regression = self.task == "regression"
        return Source(
            train_input=scaled[0],
            train_clean=train.clean,
            test_input=scaled[2],
            test_clean=test.clean,
            class_names=("value",) if regression else tuple(map(str, range(self.num_classes or 0))),
            test_groups=groups,
            target_range=self.target_range or (float(np.ptp(train.target)) if regression else None),
            val_input=None if self.meta is None else scaled[1],
            val_clean=None if self.meta is None else val.clean,
            train_observed=train.target if clean else None,
            val_observed=None if self.meta is None or not clean else val.target,
            clean_known=clean is not None,
            train_ids=train.ids,
            val_ids=None if self.meta is None else val.ids,
            test_ids=test.ids,
            reader=ArrayReader(train.features.shape[1:], scale),
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

    def _read(self, name: str, file: Npz, clean: str | None, learned: bool) -> Part:
        for key in ("features", "target", *([clean] if clean and learned else [])):
            if key not in file:
                raise DataError(f"{file.path} has no array {key!r}; it needs features [N, D] and target, and may have "
                                "clean, ids and group")  # fmt: skip
        features = file["features"]
        if features.ndim != 2 or features.dtype.kind not in "fiu" or not np.isfinite(features).all():
            raise DataError(f"{file.path}: features are {told(features)}; they must be finite numbers [N, D]")
        target = self._targets(file, "target", len(features))
        right = target if clean is None or clean not in file else self._targets(file, clean, len(features))
        ids = file.texts("ids", len(features))
        ids = np.arange(len(features)).astype(str) if ids is None else ids
        return Part(
            features.astype(np.float32), target, right, np.char.add(f"{name}:", ids), file.texts("group", len(features))
        )

    def _targets(self, file: Npz, name: str, count: int) -> np.ndarray:
        target = file[name]
        shape = (count, self.num_classes) if self.task == "multilabel" else (count,)
        kinds = "fiu" if self.task == "regression" else "iub"
        if target.shape != shape or target.dtype.kind not in kinds:
            wanted = {"multilabel": "0 or 1", "regression": "numbers"}.get(self.task, "whole numbers")
            raise DataError(f"{file.path}: {name} is {told(target)}; {self.task} data want {wanted} {list(shape)}")
        if self.task == "regression":
            if not np.isfinite(target).all():
                raise DataError(f"{file.path}: {name} is not finite in row {np.flatnonzero(~np.isfinite(target))[0]}")
            return target.astype(np.float32)
        top = 1 if self.task == "multilabel" else (self.num_classes or 0) - 1
        wrong = (target < 0) | (target > top)
        if wrong.any():
            row = np.argwhere(wrong)[0]
            raise DataError(f"{file.path}: {name} is {target[tuple(row)]} in row {row[0]}; it must lie in 0..{top}")
        return target.astype(np.int64)


def _rows(part: Part, rows: np.ndarray) -> Part:
    group = None if part.group is None else part.group[rows]
    return Part(part.features[rows], part.target[rows], part.clean[rows], part.ids[rows], group)


def _joined(parts: list[Part]) -> Part:
    """All rows; groups only where every part has some."""
    features, target, clean, ids = (np.concatenate([part[column] for part in parts]) for column in range(4))
    groups = [part.group for part in parts if part.group is not None]
    return Part(features, target, clean, ids, np.concatenate(groups) if len(groups) == len(parts) else None)
