"""New texts: a table with their column, files of text, or a list of texts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from lilawbench.datasets.columns import Columns, columns_of, read_columns
from lilawbench.datasets.new_rows.base import Labelling, NewRows, Reader, checked_labels
from lilawbench.datasets.spelling import Spelling
from lilawbench.datasets.text_folder import files_of, read_text
from lilawbench.datasets.word_pieces import WordPieces
from lilawbench.datasets.words import Tokenizer, Words, encoded, row_name
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")
TOKENIZERS: dict[str, type[Tokenizer]] = {kind.kind: kind for kind in (Words, WordPieces)}


class TextReader(Reader):
    """A table with a column of texts, a folder of .txt files or one such file; in memory a list of texts, a pandas
    DataFrame or a list of dicts.

    Args:
        tokenizer: of the run. length: numbers that are kept of a text.
        text, label, id: columns of a table; a label need not be there, and without `id` a row is called by its line and
            its first words.
        missing, delimiter, encoding: how the run's own file was read.
    """

    kind: ClassVar[str] = "texts"
    folders: ClassVar[bool] = True

    def __init__(
        self, tokenizer: Tokenizer, length: int, text: str = "text", label: str = "label", id: str | None = None,
        missing: Sequence[str] = (), delimiter: str = ",", encoding: str = "utf-8",
    ):  # fmt: skip
        self.tokenizer, self.length = tokenizer, length
        self.vocabulary = len(tokenizer)
        self.text, self.label, self.id = text, label, id
        self.missing, self.delimiter, self.encoding = list(missing), delimiter, encoding
        self.wants = f"a table with texts in a column {text!r}, a folder of .txt files, or one such file"

    def read(self, path: Path, labelling: Labelling | None = None) -> NewRows:
        if path.is_dir():
            return self._folder(path, labelling)
        if path.suffix.lower() == ".txt":
            return self._numbers([read_text(path, self.encoding)], [path.name])
        exact = [self.text, *([self.id] if self.id else [])]
        table = read_columns(path, self.delimiter, Spelling(self.missing), self.encoding, [self.label], exact)
        return self._rows(table, labelling)

    def take(self, raw: object) -> NewRows:
        import pandas

        if isinstance(raw, Sequence) and not isinstance(raw, str | bytes) and len(raw):
            if all(isinstance(row, str) for row in raw):
                return self._numbers(raw, [str(row) for row in range(len(raw))])
            if all(isinstance(row, Mapping) for row in raw):
                raw = pandas.DataFrame(list(raw))
        if not isinstance(raw, pandas.DataFrame):
            raise DataError(f"the texts are a {type(raw).__name__}; give a list of texts, a pandas DataFrame or a path")
        exact = [self.text, *([self.id] if self.id else [])]
        return self._rows(columns_of(raw, Spelling(self.missing), [self.label], exact), None)

    def _rows(self, table: Columns, labelling: Labelling | None) -> NewRows:
        table.need([self.text], "the column of texts, as the run's own table has it")
        texts = texts_in(table, self.text)
        given = None
        if labelling is not None and self.label in table.arrays:
            codes, names = table.texts(self.label)
            where = f"{table.path}, column {self.label!r}"
            given = checked_labels(np.array(names, dtype=str)[codes], labelling, where)
        return self._numbers(texts, row_ids(table, texts, self.id).tolist(), given, named=True)

    def _folder(self, root: Path, labelling: Labelling | None) -> NewRows:
        files = files_of(root)
        if not files:
            raise DataError(f"{root} has no .txt file; this run reads {self.wants}")
        names = [str(file.relative_to(root)) for file in files]
        folders = [name.split("/")[0] if "/" in name else "" for name in names]
        given = None
        if labelling is not None and set(folders) & set(labelling.class_names):
            given = checked_labels(np.array(folders, dtype=str), labelling, str(root))
        return self._numbers([read_text(file, self.encoding) for file in files], names, given)

    def _numbers(
        self, texts: Sequence[str], places: Sequence[str], given: np.ndarray | None = None, named: bool = False
    ) -> NewRows:
        """Rows of texts; `named`: the places are names already."""
        import torch

        numbers, sizes = encoded(self.tokenizer, texts, self.length)
        if cut := int((sizes > self.length).sum()):
            what = self.tokenizer.what
            log.info("%d of %d texts are longer than %d %s and cut to it", cut, len(sizes), self.length, what)
        ids = list(places) if named else [row_name(place, text) for place, text in zip(places, texts, strict=True)]
        return NewRows(torch.from_numpy(numbers), np.array(ids, dtype=str), given)

    def described(self) -> dict[str, Tree]:
        names = ("length", "text", "label", "id", "missing", "delimiter", "encoding")
        return {"tokenizer": self.tokenizer.described(), **{name: getattr(self, name) for name in names}}

    @classmethod
    def of(cls, described: Mapping[str, Tree]) -> TextReader:
        kept = dict(described["tokenizer"])
        tokenizer = TOKENIZERS[kept["kind"]].of(kept)
        return cls(tokenizer, **{name: value for name, value in described.items() if name not in ("kind", "tokenizer")})


def texts_in(table: Columns, column: str) -> list[str]:
    """The texts of a column, "" where one is missing."""
    codes, texts = table.texts(column)
    return [texts[code] for code in codes.tolist()]


def row_ids(table: Columns, texts: Sequence[str], column: str | None) -> np.ndarray:
    """What the rows are called, [N] str: as a column says, else by their lines and first words."""
    names = [row_name(f"{table.place} {line}", text) for line, text in zip(table.lines.tolist(), texts, strict=True)]
    if column is None or column not in table.arrays:
        return np.array(names, dtype=str)
    codes, found = table.texts(column)
    return np.where(table.is_missing(column), np.array(names, dtype=str), np.array(found, dtype=str)[codes])
