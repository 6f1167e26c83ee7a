"""The user's own arrays: one .npz file, laid out as MedMNIST's."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.given_labels import checked_names, class_numbers, counted, several, values
from lilawbench.datasets.new_rows.arrays import ArrayReader
from lilawbench.datasets.npz import Npz, told
from lilawbench.datasets.own_images import channel_statistics
from lilawbench.datasets.pixel_arrays import pixels_of
from lilawbench.datasets.scale import Scale
from lilawbench.loading.split import class_rows, stratified, stratified_test
from lilawbench.support.errors import DataError, first_of

log = logging.getLogger("lilawbench")

KINDS = {"images": "[N, H, W] or [N, H, W, 3]", "series": "[N, T] or [N, T, C]", "features": "[N, D]"}
TASKS = ("multiclass", "multilabel", "regression")
PARTS = ("train", "val", "test")


class Part(NamedTuple):
    """The rows of a part, labels as `Source` has them."""

    input: np.ndarray
    given: np.ndarray  # the labels to learn from
    clean: np.ndarray  # the right ones; the given ones where those are not known
    ids: np.ndarray | None
    group: np.ndarray | None

    def of(self, rows: np.ndarray) -> Part:
        """Some of the rows. They keep their numbers in the file as names, if they have no others."""
        ids = rows.astype(str) if self.ids is None else self.ids[rows]
        group = None if self.group is None else self.group[rows]
        return Part(self.input[rows], self.given[rows], self.clean[rows], ids, group)


class Arrays(Dataset):
    """Images, series or features with their labels in one .npz file, held in memory.

    The file has `train_images` [N, H, W], [N, H, W, 1] or [N, H, W, 3] of whole numbers 0 to 255, or `train_series`
    [N, T] or [N, T, C], or `train_features` [N, D]; and `train_labels` [N] or [N, 1]: whole numbers or text for
    classes, 0 and 1 [N, K] for several labels, or values. It may have `val_` and `test_` arrays of the same names,
    `class_names` [K] (number i is name i), and of each part `train_ids` (or `train_index`) and `train_group`, names of
    rows and of groups of people. Any other training array of labels can be learned from (`labels`), or be the right
    labels to measure by (`clean`); of the other parts it is taken where they have it, else their `_labels`.
    Series (each channel) and features are standardised by the training rows.

    Args:
        path: the file; as it is, or below the data folder.
        labels: train_NAME has the labels to learn from.
        clean: train_NAME has the right labels, for measuring alone. None: train_clean if the file has it, else nobody
            knows them.
        task: multiclass | multilabel | regression; two classes are binary.
        test_fraction: without a test part, the part of the training rows to test on, stratified, in (0, 1).
        split_seed: of its draw.
        standardise: False leaves series and features as they are.
        target_range: R of values (LiLAW, A.7); None: the range of the training values.
        imbalance, per_class: as every `Dataset`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: a file or array is at fault.
    """

    num_classes: int | None = None
    official_val = None
    by_hand = True

    def __init__(
        self,
        path: str,
        labels: str = "labels",
        clean: str | None = None,
        task: str = "multiclass",
        test_fraction: float = 0.2,
        split_seed: int = 0,
        standardise: bool = True,
        target_range: float | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; it must be one of {', '.join(TASKS)}")
        self.task = task
        if task == "regression":
            self.num_classes = 1
        super().__init__(None, imbalance, per_class)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
        if not (isinstance(split_seed, int) and split_seed >= 0):
            raise ValueError(f"split_seed is {split_seed}; it must be a whole number >= 0")
        if target_range is not None and not (task == "regression" and 0 < target_range < np.inf):
            raise ValueError(f"target_range is {target_range}; it must be null, or > 0 with task=regression")
        self.path, self.labels, self.clean = path, labels.removeprefix("train_"), clean and clean.removeprefix("train_")
        self.test_fraction, self.split_seed = test_fraction, split_seed
        self.standardise, self.target_range = standardise, target_range

    def load(self, data_dir: Path | None) -> Source:
        file = Npz(self.path, data_dir, "dataset.path")
        import torch  # not needed to tell that there is no file

        kind = self._kind(file)
        names, parts = self._parts(file, kind)
        train, val, test = parts["train"], parts.get("val"), parts.get("test")
        clean_known = self._clean(file) is not None
        if test is None:
            rows, tested = self._drawn_test(train.given, names, file.path)
            train, test = train.of(rows), train.of(tested)
        elif self.task == "multiclass":
            class_rows(train.given, names, 1, str(file.path))
        inputs = [part.input for part in (train, test, val) if part is not None]
        mean = std = reader = None
        if kind == "images":
            scaled = [torch.from_numpy(array) for array in inputs]
            mean, std = channel_statistics(scaled[0])
        else:
            scale = Scale.fitted(train.input.reshape(-1, train.input.shape[-1])) if self.standardise else None
            scaled = [torch.from_numpy(array) if scale is None else scale(array) for array in inputs]
            reader = ArrayReader(train.input.shape[1:], scale)
        self._say(file.path, train, val, test, names, clean_known)
        return Source(
            train_input=scaled[0],
            train_clean=train.clean,
            test_input=scaled[1],
            test_clean=test.clean,
            class_names=names,
            mean=mean,
            std=std,
            test_groups={} if test.group is None else {"group": test.group},
            val_input=None if val is None else scaled[2],
            val_clean=None if val is None else val.clean,
            train_observed=train.given if clean_known else None,
            val_observed=val.given if clean_known and val is not None else None,
            clean_known=clean_known,
            target_range=(self.target_range or float(np.ptp(train.given))) if self.task == "regression" else None,
            train_ids=train.ids,
            val_ids=None if val is None else val.ids,
            test_ids=test.ids,
            drawn_test=0 if "test" in parts else len(test.given),
            reader=reader,
        )

    def _kind(self, file: Npz) -> str:
        found = [kind for kind in KINDS if f"train_{kind}" in file]
        if len(found) != 1:
            raise DataError(
                f"{file.path} has the arrays {first_of(file.names)}; it needs train_labels and one of "
                + ", ".join(f"train_{kind} {shape}" for kind, shape in KINDS.items())
            )
        return found[0]

    def _clean(self, file: Npz) -> str | None:
        """The name of the right labels, if they are known."""
        return self.clean or ("clean" if "train_clean" in file else None)

    def _parts(self, file: Npz, kind: str) -> tuple[tuple[str, ...], dict[str, Part]]:
        """The names of classes, of labels or of the value; and the parts that the file has."""
        inputs = {part: self._input(file, part, kind) for part in PARTS if f"{part}_{kind}" in file}
        for part in PARTS:
            if part not in inputs and f"{part}_labels" in file:
                raise DataError(f"{file.path} has {part}_labels, and no {part}_{kind}")
        for part, input in inputs.items():
            if input.shape[1:] != inputs["train"].shape[1:]:
                raise DataError(
                    f"{file.path}: {part}_{kind} is {told(input)}, and train_{kind} {told(inputs['train'])}"
                )
        named = {part: self._label_names(file, part) for part in inputs}
        arrays = {name: file[name] for pair in named.values() for name in pair}
        for part, pair in named.items():
            for name in pair:
                if arrays[name].shape[:1] != (rows := inputs[part].shape[:1]):
                    raise DataError(
                        f"{file.path}: {name} is {told(arrays[name])}, and {part}_{kind} has {rows[0]} rows"
                    )
        numbers, names = self._labels(arrays, file)
        parts = {}
        for part, input in inputs.items():
            ids = f"{part}_ids" if f"{part}_ids" in file else f"{part}_index"
            texts = (file.texts(name, len(input)) for name in (ids, f"{part}_group"))
            parts[part] = Part(input, *(numbers[name] for name in named[part]), *texts)
        return names, parts

    def _label_names(self, file: Npz, part: str) -> tuple[str, str]:
        """The arrays of a part that hold the labels to learn from, and the right ones."""
        clean = self._clean(file)
        if part == "test":
            tested = _first(file, part, clean or self.labels, "labels", self.labels)
            return tested, tested
        given = _first(file, part, self.labels, *(["labels"] if part == "val" else []))
        if clean is None or (part == "val" and f"val_{clean}" not in file):
            return given, given
        return given, _first(file, part, clean)

    def _labels(self, arrays: dict[str, np.ndarray], file: Npz) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Labels as `Source` has them, by the arrays' names; and the names of classes, of labels or of the value."""
        names = checked_names(file.if_there("class_names"), file.path)
        if self.task == "regression":
            found = {name: values(array, f"{file.path}: {name}") for name, array in arrays.items()}
            if np.ptp(found[f"train_{self.labels}"]) == 0:
                raise DataError(f"{file.path}: train_{self.labels} has one value only")
            return found, ("value",)
        if self.task == "multilabel":
            found = {name: several(array, f"{file.path}: {name}") for name, array in arrays.items()}
            widths = {name: array.shape[1] for name, array in found.items()}
            widths |= {} if names is None else {"class_names": len(names)}
            if len(set(widths.values())) > 1:
                raise DataError(f"{file.path}: there are different numbers of labels: {widths}")
            return found, tuple(names or map(str, range(widths[f"train_{self.labels}"])))
        tested = {name: array for name, array in arrays.items() if name.startswith("test_")}
        return class_numbers({name: arrays[name] for name in arrays if name not in tested}, tested, names, file.path)

    def _input(self, file: Npz, part: str, kind: str) -> np.ndarray:
        """Images [N, C, H, W] uint8, series [N, T, C] or features [N, D] float32."""
        name = f"{part}_{kind}"
        array = file[name]
        if not array.size or array.ndim not in {"images": (3, 4), "series": (2, 3), "features": (2,)}[kind]:
            raise DataError(f"{file.path}: {name} is {told(array)}; expected {KINDS[kind]}, with rows")
        if kind == "images":
            return pixels_of(array, f"{file.path}: {name}")
        if array.dtype.kind not in "iufb":
            raise DataError(f"{file.path}: {name} is {told(array)}; it must be numbers")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            wrong = np.argwhere(~np.isfinite(array))
            raise DataError(
                f"{file.path}: {name}{wrong[0].tolist()} is {array[tuple(wrong[0])]} ({len(wrong)} such numbers); fill "
                "them, or leave such rows out"
            )
        return array[:, :, None] if kind == "series" and array.ndim == 2 else array

    def _drawn_test(self, given: np.ndarray, names: tuple[str, ...], path: Path) -> tuple[np.ndarray, np.ndarray]:
        if self.task == "multiclass":
            return stratified_test(given, names, self.test_fraction, self.split_seed, str(path))
        return stratified(given, self.test_fraction, np.random.default_rng(self.split_seed))

    def _say(
        self, path: Path, train: Part, val: Part | None, test: Part, names: tuple[str, ...], clean_known: bool
    ) -> None:
        counts = "" if val is None else f"{len(val.given):,} validation, "
        counts = f"{len(train.given):,} training, {counts}{len(test.given):,} test rows {list(train.input.shape[1:])}"
        if self.task == "multiclass":
            counts += f"; {counted(names, train.given)}"
        right = "clean labels known" if clean_known else "clean labels unknown"
        log.info("%s: %s; labels: %s, %s", path, counts, self.labels, right)


def _first(file: Npz, part: str, *wanted: str) -> str:
    """The name of the first of these arrays that the file has."""
    names = [f"{part}_{name}" for name in wanted]
    found = next((name for name in names if name in file), None)
    if found is None:
        others = [name for name in file.names if name.startswith(f"{part}_")]
        raise DataError(f"{file.path} has no array {names[0]!r}; of {part} it has {first_of(others)}")
    return found
