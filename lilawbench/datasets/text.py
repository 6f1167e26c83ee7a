"""The user's own texts: a column of a table, or files in a folder for each class."""

import codecs
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.columns import Columns, read_columns, release_memory, text_at
from lilawbench.datasets.new_rows.text import row_ids, texts_in
from lilawbench.datasets.own_path import own_path
from lilawbench.datasets.spelling import Spelling, unified
from lilawbench.datasets.table import DELIMITERS
from lilawbench.datasets.table_labels import classes, labelled, numbered
from lilawbench.datasets.text_folder import LAYOUT, read_text, read_text_tree
from lilawbench.datasets.text_source import Part, Texts
from lilawbench.datasets.words import row_name
from lilawbench.loading.split import class_rows, stratified_test
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Options, Tree

log = logging.getLogger("lilawbench")
MISSING = ("NA", "N/A", "#N/A", "NaN", "null")  # fewer than of a table: "none" and "-" are texts


class Text(Texts):
    """Texts and their classes: a table with a column of each, or path/CLASS/*.txt, or path/train/CLASS/*.txt and
    path/test/CLASS/*.txt and, if there is one, path/val/CLASS/*.txt.

    Which labels are right is unknown without `clean_label`: what needs clean labels is left out of the record, unless
    noise is added.

    Args:
        path: the table (CSV, TSV, packed or not, or Parquet) or the folder; as it is, or below the data folder.
        text, label: columns of a table. clean_label: a column of clean labels, to measure by. None: there is none.
        id: a column of names of the rows; None: a row is called by its line and first words.
        test_path: a table of test rows; None: a stratified part is set aside, as of a folder without a test part.
        test_fraction: that part, in (0, 1). split_seed: of its draw.
        missing: values of a table that count as missing besides an empty one, in whatever case.
        delimiter: between the values of a CSV. encoding: of a CSV or of .txt files, as Python names it.
        drop_unlabelled: leave out rows without a label; False: they are refused.
        vocabulary, min_count, length, tokenizer_path, imbalance, per_class: see `Texts`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: a file, line or column is at fault.
    """

    num_classes: int | None = None
    official_val: bool | None = None
    by_hand = True

    def __init__(
        self,
        path: str,
        text: str = "text",
        label: str = "label",
        clean_label: str | None = None,
        id: str | None = None,
        test_path: str | None = None,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        missing: Sequence[str] = MISSING,
        delimiter: str = ",",
        encoding: str = "utf-8",
        drop_unlabelled: bool = False,
        **of_texts: Tree,
    ):
        super().__init__(**of_texts)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
        if not (isinstance(split_seed, int) and split_seed >= 0):
            raise ValueError(f"split_seed is {split_seed}; it must be a whole number >= 0")
        delimiter = DELIMITERS.get(delimiter, delimiter)
        if len(delimiter) != 1:
            raise ValueError(f"delimiter is {delimiter!r}; it must be one character")
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"encoding is {encoding!r}; Python has no such, but utf-8, cp1252, latin-1 ...") from None
        columns = [unified(str(name)) for name in (text, label, clean_label, id) if name is not None]
        if "" in columns or len(set(columns)) < len(columns):
            raise ValueError(f"text, label, clean_label and id name the columns {columns}; they must be different ones")
        self.path, self.test_path = Path(path), None if test_path is None else Path(test_path)
        self.text, self.label = unified(str(text)), unified(str(label))
        self.clean_label, self.id = (None if name is None else unified(str(name)) for name in (clean_label, id))
        self.test_fraction, self.split_seed = test_fraction, split_seed
        self.missing = [str(value) for value in missing]
        self.delimiter, self.encoding, self.drop_unlabelled = delimiter, encoding, drop_unlabelled

    def load(self, data_dir: Path | None) -> Source:
        path = own_path(
            self.path, data_dir, "dataset.path", f"a CSV, TSV or Parquet file, or a folder {LAYOUT}", "either"
        )
        if path.is_dir():
            return self._from_folder(path, data_dir)
        try:
            return self._from_table(data_dir)
        finally:
            release_memory()

    def _from_folder(self, root: Path, data_dir: Path | None) -> Source:
        if self.test_path is not None or self.clean_label is not None or self.id is not None:
            raise DataError(f"{root} is a folder: dataset.test_path, clean_label and id are of tables")
        tree = read_text_tree(root)
        parts = {}
        for name, files in tree.parts.items():
            texts = [read_text(file, self.encoding) for file, _ in files]
            ids = [row_name(str(file.relative_to(root)), text) for (file, _), text in zip(files, texts)]
            label = np.array([number for _, number in files], dtype=np.int64)
            parts[name] = Part(texts, label, np.array(ids, dtype=str))
        drawn = "test" not in parts
        if drawn:
            every = parts["train"]
            names = tree.class_names
            train, test = stratified_test(every.label, names, self.test_fraction, self.split_seed, str(root))
            parts |= {"train": every.some(train), "test": every.some(test)}
        table: Options = {"encoding": self.encoding}
        drawn_test = len(parts["test"].ids) if drawn else 0
        return self.source_of(parts, tree.class_names, str(root), data_dir, table, drawn_test=drawn_test)

    def _from_table(self, data_dir: Path | None) -> Source:
        table = self._read(self.path, data_dir, "dataset.path")
        clean_column = self.clean_label or self.label
        names = classes(table, [self.label, clean_column])
        given, clean = numbered(table, self.label, names), numbered(table, clean_column, names)
        texts = texts_in(table, self.text)
        every = Part(texts, clean, row_ids(table, texts, self.id))
        where = f"{table.path}, column {self.label!r}"
        if self.test_path is None:
            train, test = stratified_test(given, names, self.test_fraction, self.split_seed, where)
            parts = {"train": every.some(train), "test": every.some(test)}
        else:
            class_rows(given, names, 1, where)
            tested = self._read(self.test_path, data_dir, "dataset.test_path")
            texts, train = texts_in(tested, self.text), np.arange(len(table))
            label = numbered(tested, clean_column, names)
            parts = {"train": every, "test": Part(texts, label, row_ids(tested, texts, self.id))}
        kept = ("text", "label", "id", "missing", "delimiter", "encoding")
        return self.source_of(
            parts,
            names,
            str(table.path),
            data_dir,
            {name: getattr(self, name) for name in kept},
            train_observed=None if self.clean_label is None else given[train],
            clean_known=self.clean_label is not None,
            drawn_test=len(parts["test"].ids) if self.test_path is None else 0,
            train_lines=table.lines[train],
            columns=partial(text_at, partial(self._columns, self.path, data_dir, "dataset.path")),
        )

    def _columns(self, path: Path, data_dir: Path | None, option: str) -> Columns:
        labels = [name for name in (self.label, self.clean_label) if name]
        exact = [self.text, *([self.id] if self.id else [])]
        found = own_path(path, data_dir, option, "a CSV, TSV or Parquet file")
        return read_columns(found, self.delimiter, Spelling(self.missing), self.encoding, labels, exact)

    def _read(self, path: Path, data_dir: Path | None, option: str) -> Columns:
        table = self._columns(path, data_dir, option)
        for name in ("text", "label", "clean_label", "id"):
            table.need([getattr(self, name)] if getattr(self, name) else [], f"dataset.{name}")
        return labelled(table, self.label, self.drop_unlabelled)
