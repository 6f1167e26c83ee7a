"""The user's own table: a CSV or Parquet file with a label column; what the other columns hold decides their use."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.columns import Columns, listed, read_columns, release_memory
from lilawbench.datasets.encoding import Encoding, filled, not_a_number
from lilawbench.loading.split import class_rows, stratified, stratified_test
from lilawbench.support.errors import DataError

log = logging.getLogger("lilawbench")

Names = Sequence[str]
TASKS = ("classification", "regression")


class Table(Dataset):
    """Rows of a table file as standardised numbers, 0/1 flags of missing numbers, then categories one-hot (0/1).

    A column is numeric if each of its values is a number, else categorical. A missing number becomes the median and
    sets its column's flag; a missing category is a category of its own; a category that no training row has is all
    zeros. Median, mean, std and categories come from the training rows alone. Labels of one column are class names,
    numbered in order, or values to predict (task=regression). Without `clean_label` it is unknown which of them are
    right: what needs clean labels is left out of the record, unless noise is added to them.

    Args:
        path: the file: .csv, .tsv or .parquet; as it is, or below the data folder.
        label: the column of labels to learn from.
        task: classification | regression, which needs a column of numbers.
        clean_label: a column of clean labels, to measure by; on the test rows it replaces the label. None: none.
        test_path: a file of test rows with the same columns; None: a stratified part of `path` is set aside.
        test_fraction: that part, in (0, 1). split_seed: of its draw, the same for every seed of a run.
        groups: columns to compare groups by (`test_groups`); they stay features unless ignored.
        ignore: columns that are no features, such as an identifier.
        numeric, categorical: columns that are to be taken as such, whatever they hold.
        missing: values that count as missing, besides an empty one.
        delimiter: between the values of a CSV.
        max_categories: a categorical column with more values than this is refused: it is probably text.
        imbalance, per_class: as every `Dataset`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: a file, line or column is at fault.
    """

    num_classes: int | None = None
    by_hand = True

    def __init__(
        self,
        path: str,
        label: str,
        clean_label: str | None = None,
        task: str = "classification",
        test_path: str | None = None,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        groups: Names = (),
        ignore: Names = (),
        numeric: Names = (),
        categorical: Names = (),
        missing: Names = ("?", "NA", "NaN", "nan", "null"),
        delimiter: str = ",",
        max_categories: int = 100,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; it must be one of {', '.join(TASKS)}")
        if task == "regression":
            self.task, self.num_classes = task, 1
        super().__init__(None, imbalance, per_class)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
        for name, value in (("split_seed", split_seed), ("max_categories", max_categories)):
            if not (isinstance(value, int) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a whole number >= 0")
        if len(delimiter) != 1:
            raise ValueError(f"delimiter is {delimiter!r}; it must be one character")
        if both := set(numeric) & set(categorical):
            raise ValueError(f"numeric and categorical both name {listed(sorted(both))}")
        self.path, self.test_path = Path(path), None if test_path is None else Path(test_path)
        self.label, self.clean_label = str(label), None if clean_label is None else str(clean_label)
        self.test_fraction, self.split_seed, self.max_categories = test_fraction, split_seed, max_categories
        self.groups, self.ignore, self.numeric, self.categorical = (
            [str(name) for name in names] for names in (groups, ignore, numeric, categorical)
        )
        self.missing, self.delimiter = [str(value) for value in missing], delimiter

    def load(self, data_dir: Path | None) -> Source:
        try:
            return self._load(data_dir)
        finally:
            release_memory()

    def _load(self, data_dir: Path | None) -> Source:
        table = self._read(self.path, data_dir)
        tested = None if self.test_path is None else self._read(self.test_path, data_dir)
        values = self.task == "regression"
        given, clean, names = self._values(table) if values else self._labels(table)
        numeric, categorical = self._kinds(table)
        where = f"{table.path}, column {self.label!r}"
        if tested is None and values:
            train, test = stratified(given, self.test_fraction, np.random.default_rng(self.split_seed))
            tested, test_clean = table, clean[test]
        elif tested is None:
            train, test = stratified_test(given, names, self.test_fraction, self.split_seed, where)
            tested, test_clean = table, clean[test]
        else:
            if not values:
                class_rows(given, names, 1, where)
            train, test = np.arange(len(table)), np.arange(len(tested))
            tested.need([*numeric, *categorical], "as the training file has them")
            column = self.clean_label or self.label
            test_clean = self._column(tested, column) if values else _numbered(tested, column, names)
        features = Encoding(table, train, numeric, categorical)
        log.info("%s: numbers: %s; categories: %s", table.path, ", ".join(numeric), features.described())
        return Source(
            train_input=features(table, train),
            train_clean=clean[train],
            test_input=features(tested, test),
            test_clean=test_clean,
            class_names=names,
            test_groups={name: _named(tested, name, test) for name in self.groups},
            train_observed=None if self.clean_label is None else given[train],
            clean_known=self.clean_label is not None,
            target_range=float(np.ptp(given[train])) if values else None,
        )

    def _read(self, path: Path, data_dir: Path | None) -> Columns:
        below = path if data_dir is None else Path(data_dir) / path
        table = read_columns(below if below.is_file() and not path.is_file() else path, self.delimiter, self.missing)
        table.need([self.label], "dataset.label")
        table.need([self.clean_label] if self.clean_label else [], "dataset.clean_label")
        table.need(self.groups, "dataset.groups")
        return table

    def _labels(self, table: Columns) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Given and clean labels [N] int64, and the class names: numbers in their order, else the alphabet's."""
        columns = [self.label, self.clean_label or self.label]
        found: set[str] = set()
        for column in columns:
            _need_labels(table, column)
            found.update(table.texts(column)[1])
        if len(found) < 2:
            raise DataError(
                f"{table.path}: column {self.label!r} has one label only, {found.pop()!r}; name another dataset.label"
            )
        names = tuple(sorted(found, key=_natural))
        given, clean = (_numbered(table, column, names) for column in columns)
        return given, clean, names

    def _values(self, table: Columns) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Given and clean values [N] float32, and what they are."""
        given, clean = (self._column(table, column) for column in (self.label, self.clean_label or self.label))
        if np.ptp(given) == 0:
            raise DataError(f"{table.path}: column {self.label!r} has one value only, {given[0]:g}")
        return given, clean, (self.label,)

    def _column(self, table: Columns, column: str) -> np.ndarray:
        """A column of values to predict, [N] float32."""
        _need_labels(table, column)
        values, wrong = table.numbers(column)
        if len(wrong):
            raise DataError(
                f"{table.at(wrong[0])}: {table.text(column, wrong[0])!r} in column {column!r} is not a finite number "
                f"({len(wrong)} such rows); dataset.task=regression needs numbers"
            )
        return values.astype(np.float32)

    def _kinds(self, table: Columns) -> tuple[list[str], list[str]]:
        """Numeric and categorical feature columns, in file order."""
        for option in ("ignore", "numeric", "categorical"):
            table.need(getattr(self, option), f"dataset.{option}")
        left_out = {self.label, self.clean_label or self.label, *self.ignore}
        numeric: list[str] = []
        categorical: list[str] = []
        for name in (name for name in table.arrays if name not in left_out):
            wrong = np.arange(0) if name in self.categorical else table.numbers(name)[1]
            if name in self.numeric and len(wrong):
                raise not_a_number(table, name, wrong)
            if name not in self.categorical and not len(wrong):
                numeric.append(name)
                continue
            categorical.append(name)
            if (values := len(table.texts(name)[1])) > self.max_categories:
                raise DataError(
                    f"{table.path}: column {name!r} holds {values} different values that are not all numbers, more "
                    f"than dataset.max_categories={self.max_categories}. Raise that, leave the column out with "
                    f"dataset.ignore=[{name}], or take it as numbers with dataset.numeric=[{name}]"
                )
        if not numeric and not categorical:
            raise DataError(f"{table.path} has no feature column besides {listed(sorted(left_out))}")
        return numeric, categorical


def _need_labels(table: Columns, column: str) -> None:
    if len(gone := np.flatnonzero(table.arrays[column].is_null().to_numpy(zero_copy_only=False))):
        raise DataError(
            f"{table.at(gone[0])}: no label in column {column!r} ({len(gone)} such rows; dataset.missing lists what "
            "counts as missing)"
        )


def _named(table: Columns, name: str, rows: np.ndarray) -> np.ndarray:
    """The texts of some rows, [len(rows)] str."""
    codes, texts = filled(table, name, rows)
    return np.array(texts, dtype=str)[codes]


def _natural(label: str) -> tuple[bool, float, str]:
    """Numbers first, by their value."""
    try:
        return (False, float(label), label)
    except ValueError:
        return (True, 0.0, label)


def _numbered(table: Columns, column: str, names: tuple[str, ...]) -> np.ndarray:
    """A column of labels as class numbers [N] int64."""
    number = {name: i for i, name in enumerate(names)}
    codes, texts = table.texts(column)
    labels = np.array([number.get(text, -1) for text in texts], dtype=np.int64)[codes]
    if len(strange := np.flatnonzero(labels < 0)):
        raise DataError(
            f"{table.at(strange[0])}: label {table.text(column, strange[0])!r} in column {column!r} is none of the "
            f"training labels {listed(names)} ({len(strange)} such rows)"
        )
    return labels
