"""New rows of a table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from lilawbench.datasets.columns import Columns, columns_of, listed, read_columns
from lilawbench.datasets.encoding import Encoding, Number, say_unknown
from lilawbench.datasets.new_rows.base import Labelling, NewRows, Reader, checked_labels
from lilawbench.datasets.spelling import Spelling
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")


class TableReader(Reader):
    """A table with the columns of the run's own: a file, or in memory a pandas DataFrame or a list of dicts.

    Args:
        features: fitted on the training rows. label: the run's column of labels, which new rows need not have.
        id: the column that names rows; None, or not there: a row is called by its line.
        spelling, delimiter, encoding: how the run's file was read.
    """

    kind: ClassVar[str] = "table"
    wants = "a table: a CSV, TSV or Parquet file"

    def __init__(
        self, features: Encoding, label: str, id: str | None = None, spelling: Spelling | None = None,
        delimiter: str = ",", encoding: str = "utf-8",
    ):  # fmt: skip
        self.features, self.label, self.id = features, label, id
        self.spelling, self.delimiter, self.encoding = spelling or Spelling(), delimiter, encoding

    def read(self, path: Path, labelling: Labelling | None = None) -> NewRows:
        texts, ids = self._as_text(labelling)
        return self._rows(read_columns(path, self.delimiter, self.spelling, self.encoding, texts, ids), labelling)

    def take(self, raw: object) -> NewRows:
        import pandas

        if isinstance(raw, Sequence) and not isinstance(raw, str) and all(isinstance(row, Mapping) for row in raw):
            raw = pandas.DataFrame(list(raw))
        if not isinstance(raw, pandas.DataFrame):
            raise DataError(f"the rows are a {type(raw).__name__}; give a pandas DataFrame, a list of dicts or a path")
        return self._rows(columns_of(raw, self.spelling, *self._as_text(None)), None)

    def _as_text(self, labelling: Labelling | None) -> tuple[list[str], list[str]]:
        """Columns that are texts whatever they hold, and those that stay in the spelling of the file."""
        classes = labelling is not None and labelling.task != "regression"
        return [*self.features.categories, *[self.label] * classes], [self.id] if self.id else []

    def _rows(self, table: Columns, labelling: Labelling | None) -> NewRows:
        used = [*self.features.numeric, *self.features.categories]
        table.need(used, "as the run's own table has them")
        rows = np.arange(len(table))
        for name in self.features.numeric:
            self._check_numbers(table, name)
        given = self._given(table, labelling) if labelling is not None and self.label in table.arrays else None
        input = self.features(table, rows)
        if extra := [name for name in table.arrays if name not in (*used, self.id, self.label)]:
            log.info("%s: no features of this run, ignored: %s", table.path, listed(extra))
        say_unknown(table.path, list(self.features.unknown(table, rows)), len(rows), from_share=0.0)
        return NewRows(input, self._ids(table), given)

    def _check_numbers(self, table: Columns, name: str) -> None:
        values, wrong = table.numbers(name)
        if len(wrong):
            raise DataError(
                f"{table.at(int(wrong[0]))}: {table.text(name, int(wrong[0]))!r} in column {name!r} is not a finite "
                f"number ({len(wrong)} such rows), and the run read this column as numbers; correct it, or leave the "
                "value out"
            )
        if name not in self.features.flagged and (gone := int(np.isnan(values).sum())):
            log.warning(
                "%s: column %r: %d of %d rows have no number, which no training row lacked; they get its median",
                table.path, name, gone, len(values),
            )  # fmt: skip

    def _given(self, table: Columns, labelling: Labelling) -> np.ndarray:
        if labelling.task == "regression":
            return table.numbers(self.label)[0]
        codes, texts = table.texts(self.label)
        return checked_labels(np.array(texts, dtype=str)[codes], labelling, f"{table.path}, column {self.label!r}")

    def _ids(self, table: Columns) -> np.ndarray:
        lines = table.lines
        names = np.strings.add(f"{table.place} ", lines.astype(f"U{len(str(lines[-1]))}"))
        if self.id is None or self.id not in table.arrays:
            return names
        codes, texts = table.texts(self.id)
        return np.where(table.is_missing(self.id), names, np.array(texts, dtype=str)[codes])

    def described(self) -> dict[str, Tree]:
        return {
            "numeric": {name: number._asdict() for name, number in self.features.numeric.items()},
            "flagged": self.features.flagged,
            "categories": self.features.categories,
            "label": self.label,
            "id": self.id,
            "missing": self.spelling.missing,
            "decimal": self.spelling.decimal,
            "delimiter": self.delimiter,
            "encoding": self.encoding,
        }

    @classmethod
    def of(cls, described: Mapping[str, Tree]) -> TableReader:
        numeric = {name: Number(**number) for name, number in described["numeric"].items()}
        features = Encoding(numeric, described["flagged"], described["categories"])
        spelling = Spelling(described["missing"], described["decimal"])
        rest = {name: described[name] for name in ("delimiter", "encoding")}
        return cls(features, described["label"], described["id"], spelling, **rest)
