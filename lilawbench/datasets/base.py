"""What every data set is: a Dataset, which reads a Source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.subset import checked_classes, checked_imbalance, draw, long_tail
from lilawbench.loading.image_files import ImageFiles, loaded
from lilawbench.tasks import CLASSES, task_of

if TYPE_CHECKING:
    from torch import Tensor

    from lilawbench.datasets.new_rows.base import Reader


@dataclass(frozen=True)
class Source:
    """A data set as read from disk: inputs and clean labels of the official splits.

    Images are uint8 [N, C, H, W], normalised per batch with `mean` and `std` (per channel, on the 0..1 scale), or stay
    in their files if memory cannot hold them; sequences [N, T, C] and table rows [N, D] are float32 and already
    standardised; texts [N, L] are int64, the numbers of their words, 0 behind the last one.
    """

    train_input: Tensor | ImageFiles
    train_clean: np.ndarray  # [N] int64 in 0..K-1; several labels: [N, K] int64 of 0 and 1; values: [N] float32
    test_input: Tensor | ImageFiles
    test_clean: np.ndarray  # [M], likewise
    class_names: tuple[str, ...]  # of classes, of labels, or of the one value
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    test_groups: dict[str, np.ndarray] = field(default_factory=dict)  # e.g. {"sex": [M] str}
    val_input: Tensor | ImageFiles | None = None  # the official validation rows; None: a split takes some that train
    val_clean: np.ndarray | None = None  # [V], likewise
    train_observed: np.ndarray | None = None  # [N], given labels that noise acts on; None: train_clean
    val_observed: np.ndarray | None = None  # [V], likewise
    clean_known: bool = False  # whether the labels called clean are right; False: nobody knows, they are as given
    reference_groups: dict[str, str] = field(default_factory=dict)  # e.g. {"sex": "Male"}: others are compared with it
    target_range: float | None = None  # of values: the R of LiLAW, A.7
    copy: Callable[[Tensor, np.random.Generator], Tensor] | None = None  # perturbs the copies that half of the training
    # rows get after the split; None: there are none
    train_ids: np.ndarray | None = None  # [N] str, what a person calls a row: its file, id or line; None: its number
    val_ids: np.ndarray | None = None  # [V], likewise
    test_ids: np.ndarray | None = None  # [M], likewise
    drawn_test: int = 0  # how many of the user's rows were drawn as test rows, for want of a test part
    train_lines: np.ndarray | None = (
        None  # [N] int64, where training rows stand in a table's file; None: it is no table
    )
    columns: Callable[[np.ndarray], dict[str, list[str]]] | None = None  # lines -> a table's columns there, as text
    reader: Reader | None = None  # reads new rows as these were read; None: as their inputs' shape says
    resize_px: int | None = None  # side that a run scales images to for its network, and how: see `Rows`
    interpolation: str = "bilinear"
    vocabulary: int | None = None  # of texts: how many numbers words have, 0 included; None: these are no texts

    @property
    def task(self) -> str:
        return task_of(self.train_clean, self.num_classes)

    @property
    def num_classes(self) -> int:
        """Outputs of a network: classes, labels, or 1 for a value."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.train_input.shape[1:])

    @property
    def network_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network sees it."""
        return seen_shape(self.input_shape, self.mean, self.resize_px)

    @property
    def labelled_clean(self) -> np.ndarray:
        """Clean labels of the rows that noise is drawn for: the training rows, then the official validation rows."""
        return self.train_clean if self.val_clean is None else np.concatenate([self.train_clean, self.val_clean])

    @property
    def labelled_given(self) -> np.ndarray:
        """Given labels of the same rows, which noise acts on."""
        train = self.train_clean if self.train_observed is None else self.train_observed
        val = self.val_clean if self.val_observed is None else self.val_observed
        return train if val is None else np.concatenate([train, val])

    @property
    def labelled_ids(self) -> np.ndarray | None:
        """Names of the same rows, [N] str; None: they are known by their numbers."""
        parts = [self.train_ids] if self.val_clean is None else [self.train_ids, self.val_ids]
        known = [part.astype(str) for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None

    @property
    def official_val(self) -> bool:
        return self.val_clean is not None

    @property
    def num_labelled(self) -> int:
        return len(self.labelled_clean)

    def labelled_input(self, rows: np.ndarray) -> Tensor | ImageFiles:
        """Inputs of some rows, sorted, of those that `labelled_clean` counts; a whole split is not copied."""
        import torch

        first = len(self.train_input)
        train, val = rows[rows < first], rows[rows >= first] - first
        if self.val_input is None or not len(val):
            return _take(self.train_input, train)
        if not len(train):
            return _take(self.val_input, val)
        return torch.cat([loaded(_take(self.train_input, train)), loaded(_take(self.val_input, val))])

    @property
    def is_image(self) -> bool:
        return self.train_input.ndim == 4


def seen_shape(shape: tuple[int, ...], mean: Sequence[float] | None, resize_px: int | None) -> tuple[int, ...]:
    """Shape of one sample as a network sees it, of one as stored; `mean`, `resize_px`: see `Rows`."""
    if mean is not None:
        shape = (len(mean), *shape[1:])
    return shape if resize_px is None else (shape[0], resize_px, resize_px)


def _take(inputs: Tensor | ImageFiles, rows: np.ndarray) -> Tensor | ImageFiles:
    """Sorted, different rows."""
    return inputs if len(rows) == len(inputs) else inputs[rows]


def _some(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[rows]


class Dataset:
    """A named source of data. Building one is cheap and checks its options; `source` reads files.

    Args:
        classes: keep these classes only, renumbered in this order, e.g. [0, 1, 2]; None: all.
        imbalance: long tail over the clean classes of the training rows, first class : last class, >= 1
            (`subset.long_tail`); None: as they are. Test and official validation rows stay as they are.
        per_class: keep at most so many training rows of each clean class, before the long tail; None: all.
    Raises:
        ValueError: any of these out of range.
    """

    num_classes: int | None  # outputs: classes (on an instance, those kept), labels, or 1 for a value; None: known only
    # once the files are read
    task: str = "multiclass"  # see tasks.py; two classes make it binary
    official_val: bool | None = False  # whether `source` has validation rows of its own; None: only the files tell
    by_hand = False  # whether the user has to put its files in place
    is_text = False  # whether the inputs are words

    def __init__(
        self, classes: Sequence[int] | None = None, imbalance: float | None = None, per_class: int | None = None
    ):
        if self.task not in CLASSES and (classes, imbalance, per_class) != (None, None, None):
            raise ValueError(f"classes, imbalance and per_class are for one class a sample; these data are {self.task}")
        if per_class is not None and not (isinstance(per_class, int) and per_class >= 1):
            raise ValueError(f"per_class is {per_class}; it must be a whole number >= 1")
        self.classes: tuple[int, ...] | None = None
        if classes is not None:
            if self.num_classes is None:
                raise ValueError("classes cannot be chosen: only the files tell how many there are")
            self.classes = checked_classes(classes, self.num_classes)
            self.num_classes = len(self.classes)
        self.imbalance = None if imbalance is None else checked_imbalance(imbalance)
        self.per_class = per_class
        if self.task == "multiclass" and self.num_classes == 2:
            self.task = "binary"

    def load(self, data_dir: Path | None) -> Source:
        """The whole data set, read from `data_dir` if it is there, else from the cache, else downloaded.

        Raises:
            DataError: a file is missing, damaged or cannot be downloaded.
        """
        raise NotImplementedError

    def source(self, data_dir: Path | None, generator: np.random.Generator) -> Source:
        """What is left of `load` by `classes`, `per_class` and `imbalance`, rows drawn by `generator`.

        Raises:
            DataError: as `load`. ValueError: a class is left without a training row.
        """
        source = self.load(data_dir)
        if not self.classes and self.imbalance is None and self.per_class is None:
            return source
        source = numbered(source)
        if self.classes:
            source = keep_classes(source, self.classes)
        if self.imbalance is None and self.per_class is None:
            return source
        counts = np.bincount(source.train_clean, minlength=source.num_classes)
        if self.per_class is not None:
            counts = np.minimum(counts, self.per_class)
        if self.imbalance is not None:
            counts = long_tail(counts, self.imbalance)
        rows = draw(source.train_clean, counts, generator)
        return replace(
            source,
            train_input=source.train_input[rows],
            train_clean=source.train_clean[rows],
            train_observed=_some(source.train_observed, rows),
            train_ids=_some(source.train_ids, rows),
            train_lines=_some(source.train_lines, rows),
        )


def numbered(source: Source) -> Source:
    """The same with rows named by their numbers where they have no names, so that those that are left keep them."""

    def names(ids: np.ndarray | None, rows: Tensor | ImageFiles | None) -> np.ndarray | None:
        return np.arange(len(rows)).astype(str) if ids is None and rows is not None else ids

    return replace(
        source,
        train_ids=names(source.train_ids, source.train_input),
        val_ids=names(source.val_ids, source.val_input),
        test_ids=names(source.test_ids, source.test_input),
    )


def keep_classes(source: Source, classes: Sequence[int]) -> Source:
    """The rows of some classes, in file order: MNIST with [0, 1, 2] is the papers' MNIST-3.

    Classes are renumbered 0..len-1 in the given order, with their names: of [7, 2], 7 becomes 0 and 2 becomes 1. A row
    that was given the label of another class is left out: that label has no number any more.
    Mean and std, or whatever the inputs are standardised by, stay those of the whole data set.

    Args:
        classes: at least two different classes of 0..K-1.
    Raises:
        ValueError: no such list of classes, or one of them has no training row.
    """
    classes = checked_classes(classes, source.num_classes)
    new_number = np.full(source.num_classes, -1)
    new_number[list(classes)] = np.arange(len(classes))

    def kept(clean: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
        here = new_number[clean] >= 0
        return np.flatnonzero(here if given is None else here & (new_number[given] >= 0))

    def renumbered(labels: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
        return None if labels is None else new_number[labels[rows]]

    train, test = kept(source.train_clean, source.train_observed), kept(source.test_clean)
    train_clean = new_number[source.train_clean[train]]
    if (counts := np.bincount(train_clean, minlength=len(classes))).min() == 0:
        raise ValueError(f"class {classes[counts.argmin()]} has no training row")
    val_input, val = source.val_input, np.arange(0)
    if val_input is not None and source.val_clean is not None:
        val = kept(source.val_clean, source.val_observed)
        val_input = val_input[val]
    return replace(
        source,
        train_input=source.train_input[train],
        train_clean=train_clean,
        test_input=source.test_input[test],
        test_clean=new_number[source.test_clean[test]],
        class_names=tuple(source.class_names[i] for i in classes),
        test_groups={name: group[test] for name, group in source.test_groups.items()},
        val_input=val_input,
        val_clean=renumbered(source.val_clean, val),
        train_observed=renumbered(source.train_observed, train),
        val_observed=renumbered(source.val_observed, val),
        train_ids=_some(source.train_ids, train),
        train_lines=_some(source.train_lines, train),
        val_ids=_some(source.val_ids, val),
        test_ids=_some(source.test_ids, test),
    )
