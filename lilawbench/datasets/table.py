"""The user's own table: a CSV or Parquet file with a label column; what the other columns hold decides their use."""

import codecs
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.columns import Columns, listed, read_columns, release_memory, text_at
from lilawbench.datasets.encoding import Encoding, filled, say_unknown
from lilawbench.datasets.kinds import Kinds, kinds, shortened
from lilawbench.datasets.new_rows.table import TableReader
from lilawbench.datasets.own_path import own_path
from lilawbench.datasets.spelling import MISSING, Spelling, unified
from lilawbench.datasets.table_labels import classes, labelled, numbered, values
from lilawbench.loading.split import class_rows, stratified, stratified_test
from lilawbench.support.errors import DataError

log = logging.getLogger("lilawbench")

Names = Sequence[str]
TASKS = ("classification", "regression")
DELIMITERS = {"\\t": "\t", "tab": "\t"}


class Table(Dataset):
    """Rows of a table file as standardised numbers, 0/1 flags of missing numbers, then categories one-hot (0/1).

    A column is numeric if each of its values is a number, else categorical; what is in doubt is refused (`kinds`). A
    missing number becomes the median and sets its column's flag; a missing category is a category of its own; a
    category that no training row has is all zeros. Median, mean, std and categories come from the training rows alone.
    Labels of one column are class names, numbered in order, or values to predict (task=regression). Without
    `clean_label` it is unknown which of them are right: what needs clean labels is left out of the record, unless
    noise is added to them.

    Args:
        path: the file: text (.csv, .tsv), packed (.gz, .bz2, .xz, .zip) or not, or .parquet; as it is, or below the
            data folder.
        label: the column of labels to learn from.
        task: classification | regression, which needs a column of numbers.
        clean_label: a column of clean labels, to measure by; on the test rows it replaces the label. None: none.
        id: a column of names of the rows, which is no feature; None: a row is called by its line.
        test_path: a file of test rows with the same columns; None: a stratified part of `path` is set aside.
        test_fraction: that part, in (0, 1). split_seed: of its draw, the same for every seed of a run.
        groups: columns to compare groups by (`test_groups`); they stay features unless ignored.
        ignore: columns that are no features.
        numeric, categorical: columns that are to be taken as such, whatever they hold.
        missing: values that count as missing, besides an empty one, in whatever case.
        decimal: the sign before decimals, "." or ",". delimiter: between the values of a CSV; tab is one too.
        encoding: of a CSV, as Python names it; a byte order mark has the last word.
        drop_unlabelled: leave out rows without a label; False: they are refused.
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
        id: str | None = None,
        task: str = "classification",
        test_path: str | None = None,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        groups: Names = (),
        ignore: Names = (),
        numeric: Names = (),
        categorical: Names = (),
        missing: Names = MISSING,
        decimal: str = ".",
        delimiter: str = ",",
        encoding: str = "utf-8",
        drop_unlabelled: bool = False,
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
        delimiter = DELIMITERS.get(delimiter, delimiter)
        if len(delimiter) != 1:
            raise ValueError(f"delimiter is {delimiter!r}; it must be one character")
        if decimal not in (".", ","):
            raise ValueError(f'decimal is {decimal!r}; it must be "." or ","')
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"encoding is {encoding!r}; Python has no such, but utf-8, cp1252, latin-1 ...") from None
        if both := set(numeric) & set(categorical):
            raise ValueError(f"numeric and categorical both name {listed(sorted(both))}")
        if id == "":
            raise ValueError("id is empty; it must name a column, or be null")
        if id is not None and id in (label, clean_label):
            raise ValueError(f"id is {id!r}, which is the label; it must be another column")
        self.path, self.test_path = Path(path), None if test_path is None else Path(test_path)
        self.label = unified(str(label))
        self.clean_label, self.id = (None if name is None else unified(str(name)) for name in (clean_label, id))
        self.test_fraction, self.split_seed, self.max_categories = test_fraction, split_seed, max_categories
        self.groups, self.ignore, self.numeric, self.categorical = (
            [unified(str(name)) for name in names] for names in (groups, ignore, numeric, categorical)
        )
        self.spelling = Spelling([str(value) for value in missing], decimal)
        self.delimiter, self.encoding, self.drop_unlabelled = delimiter, encoding, drop_unlabelled

    def load(self, data_dir: Path | None) -> Source:
        try:
            return self._load(data_dir)
        finally:
            release_memory()

    def _load(self, data_dir: Path | None) -> Source:
        table = self._read(self.path, data_dir, "dataset.path")
        tested = None if self.test_path is None else self._read(self.test_path, data_dir, "dataset.test_path")
        regression, clean_column = self.task == "regression", self.clean_label or self.label
        if regression:
            names: tuple[str, ...] = (self.label,)
            given, clean = values(table, self.label), values(table, clean_column)
            if np.ptp(given) == 0:
                raise DataError(f"{table.path}: column {self.label!r} has one value only, {given[0]:g}")
        else:
            names = classes(table, [self.label, clean_column])
            given, clean = numbered(table, self.label, names), numbered(table, clean_column, names)
        found = self._kinds(table)
        where = f"{table.path}, column {self.label!r}"
        if tested is None:
            if regression:
                train, test = stratified(given, self.test_fraction, np.random.default_rng(self.split_seed))
            else:
                train, test = stratified_test(given, names, self.test_fraction, self.split_seed, where)
            tested, test_clean = table, clean[test]
        else:
            if not regression:
                class_rows(given, names, 1, where)
            train, test = np.arange(len(table)), np.arange(len(tested))
            tested.need([*found.numeric, *found.categorical], "as the training file has them")
            test_clean = values(tested, clean_column) if regression else numbered(tested, clean_column, names)
        features = Encoding.fitted(table, train, found.numeric, found.categorical)
        say_unknown(tested.path, list(features.unknown(tested, test)), len(test), from_share=0.5)
        counts = "" if regression else ", ".join(map("{}: {}".format, names, np.bincount(given)))
        _say(table, f"{self.label} ({counts})" if counts else self.label, found, features)
        return Source(
            train_input=features(table, train),
            train_clean=clean[train],
            test_input=features(tested, test),
            test_clean=test_clean,
            class_names=names,
            test_groups={name: _named(tested, name, test) for name in self.groups},
            train_observed=None if self.clean_label is None else given[train],
            clean_known=self.clean_label is not None,
            target_range=float(np.ptp(given[train])) if regression else None,
            train_ids=self._ids(table, train),
            test_ids=self._ids(tested, test),
            drawn_test=len(test) if tested is table else 0,
            train_lines=table.lines[train],
            columns=partial(text_at, partial(self._columns, self.path, data_dir, "dataset.path")),
            reader=TableReader(features, self.label, self.id, self.spelling, self.delimiter, self.encoding),
        )

    def _columns(self, path: Path, data_dir: Path | None, option: str) -> Columns:
        labels = [name for name in (self.label, self.clean_label) if name and self.task != "regression"]
        return read_columns(
            own_path(path, data_dir, option, "a CSV, TSV or Parquet file"),
            self.delimiter,
            self.spelling,
            self.encoding,
            as_text=[*labels, *self.groups, *self.categorical],
            as_they_are=[self.id] if self.id else [],
        )

    def _read(self, path: Path, data_dir: Path | None, option: str) -> Columns:
        table = self._columns(path, data_dir, option)
        table.need([self.label], "dataset.label")
        table.need([self.clean_label] if self.clean_label else [], "dataset.clean_label")
        table.need([self.id] if self.id else [], "dataset.id")
        table.need(self.groups, "dataset.groups")
        if self.id and (names := len(table.texts(self.id)[1])) < len(table):
            log.warning("%s: column %r has %d names for %d rows", table.path, self.id, names, len(table))
        return labelled(table, self.label, self.drop_unlabelled)

    def _kinds(self, table: Columns) -> Kinds:
        for option in ("ignore", "numeric", "categorical"):
            table.need(getattr(self, option), f"dataset.{option}")
        no_features = dict.fromkeys(self.ignore, "ignored")
        for name, why in ((self.id, "names of the rows"), (self.clean_label, "clean label"), (self.label, "label")):
            if name is not None:
                no_features[name] = why
        return kinds(table, no_features, self.numeric, self.categorical, self.max_categories)

    def _ids(self, table: Columns, rows: np.ndarray) -> np.ndarray:
        """What some rows are called, [len(rows)] str."""
        lines = table.lines[rows]
        names = np.strings.add(f"{table.place} ", lines.astype(f"U{len(str(table.lines[-1]))}"))
        if self.id is None:
            return names
        codes, texts = table.texts(self.id)
        return np.where(table.is_missing(self.id)[rows], names, np.array(texts, dtype=str)[codes[rows]])


def _named(table: Columns, name: str, rows: np.ndarray) -> np.ndarray:
    """The texts of some rows, [len(rows)] str."""
    codes, texts = filled(table, name, rows)
    return np.array(texts, dtype=str)[codes]


def _say(table: Columns, label: str, found: Kinds, features: Encoding) -> None:
    """One line of what each column was taken for."""
    filled_in = [f"{name} ({n})" for name in found.numeric if (n := table.arrays[name].null_count)]
    left_out = [f"{name} ({why})" for name, why in found.left_out.items() if why not in ("label", "clean label")]
    log.info(
        "%s: %d rows; label: %s; numbers: %s; categories: %s; no features: %s; missing numbers, filled with the "
        "median and flagged: %s",
        table.path, len(table), label, shortened(found.numeric), shortened(features.described()), shortened(left_out),
        shortened(filled_in),
    )  # fmt: skip
