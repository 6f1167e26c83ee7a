"""What all data sets of texts have in common: words become numbers, and what was made of them is said."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.new_rows.text import TextReader
from lilawbench.datasets.own_path import own_path
from lilawbench.datasets.word_pieces import read_word_pieces
from lilawbench.datasets.words import UNKNOWN, Tokenizer, Words, encoded
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Options

log = logging.getLogger("lilawbench")


class Part(NamedTuple):
    """Texts of one part of a data set."""

    texts: Sequence[str]
    label: np.ndarray  # [N] int64
    ids: np.ndarray  # [N] str, what a person calls each row

    def some(self, rows: np.ndarray) -> Part:
        """Some of its rows."""
        return Part([self.texts[row] for row in rows.tolist()], self.label[rows], self.ids[rows])


def thinned(label: np.ndarray, positives: int | None) -> np.ndarray:
    """Rows, sorted, of which `positives` have the class 1, drawn the same each time, and all others do not.

    Args:
        label: [N] int64, 0 or 1. positives: None, or more than there are: all.
    """
    ones = np.flatnonzero(label == 1)
    kept = np.random.default_rng(0).permutation(ones)[:positives]
    return np.sort(np.concatenate([np.flatnonzero(label != 1), kept]))


def checked_positives(positives: int | None) -> int | None:
    """Raises: ValueError."""
    if positives is not None and not (isinstance(positives, int) and positives >= 5):
        raise ValueError(f"positives is {positives}; it must be null or a whole number >= 5")
    return positives


class Texts(Dataset):
    """Texts and one class each. A subclass reads them and gives them to `source_of`.

    Args:
        vocabulary: at most so many words have a number of their own, the most frequent of the training rows; None: all.
        min_count: words that are rarer in the training rows have none.
        length: words of a text that count, the first ones; None: all of the longest training text.
        tokenizer_path: tokenizer.json or vocab.txt of a pretrained network, as it is or below the data folder, in place
            of the words of the training rows.
        classes, imbalance, per_class: as every `Dataset`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: a file, line or text is at fault.
    """

    is_text = True

    def __init__(
        self,
        vocabulary: int | None = 20_000,
        min_count: int = 2,
        length: int | None = 256,
        tokenizer_path: str | None = None,
        classes: Sequence[int] | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        super().__init__(classes, imbalance, per_class)
        for name, value in (("vocabulary", vocabulary), ("min_count", min_count), ("length", length)):
            if value is None and name != "min_count":
                continue
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name} is {value}; it must be a whole number >= 1")
        self.vocabulary, self.min_count, self.length = vocabulary, min_count, length
        self.tokenizer_path = tokenizer_path

    def source_of(
        self,
        parts: dict[str, Part],
        class_names: Sequence[str],
        where: str,
        data_dir: Path | None,
        table: Options | None = None,
        **more: object,
    ) -> Source:
        """The texts as numbers.

        Args:
            parts: train, test and, if it is there, val. where: they lie, for messages.
            table: how tables of new rows are read, see `TextReader`. more: further fields of `Source`.
        Raises:
            DataError: no training text has a word, or none is frequent enough; the tokenizer cannot be read.
        """
        import torch

        train = parts["train"]
        tokenizer = self._tokenizer(train.texts, where, data_dir)
        numbers, sizes = encoded(tokenizer, train.texts, self.length)
        length = numbers.shape[1]
        found = {"train": (numbers, sizes)}
        found |= {name: encoded(tokenizer, part.texts, length) for name, part in parts.items() if name != "train"}
        self._say(where, tokenizer, parts, found)
        input = {name: torch.from_numpy(numbers) for name, (numbers, _) in found.items()}
        val = parts.get("val")
        fields: Options = dict(more)
        return Source(
            train_input=input["train"],
            train_clean=train.label,
            test_input=input["test"],
            test_clean=parts["test"].label,
            class_names=tuple(class_names),
            val_input=input.get("val"),
            val_clean=None if val is None else val.label,
            train_ids=train.ids,
            val_ids=None if val is None else val.ids,
            test_ids=parts["test"].ids,
            vocabulary=len(tokenizer),
            reader=TextReader(tokenizer, length, **(table or {})),
            **fields,
        )

    def _tokenizer(self, texts: Sequence[str], where: str, data_dir: Path | None) -> Tokenizer:
        if self.tokenizer_path is not None:
            what = "the file tokenizer.json or vocab.txt"
            return read_word_pieces(own_path(self.tokenizer_path, data_dir, "dataset.tokenizer_path", what))
        try:
            return Words.fitted(texts, self.vocabulary, self.min_count)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error

    def _say(
        self,
        where: str,
        tokenizer: Tokenizer,
        parts: dict[str, Part],
        found: dict[str, tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Lines of what became of the texts: how many there are, are cut, have no word; which words are unknown."""
        counts = " + ".join(f"{len(part.texts):,} to {name}" for name, part in parts.items())
        length, test = found["train"][0].shape[1], found["test"][0]
        unknown = "" if tokenizer.closes else f", {(test == UNKNOWN).sum() / max(1, (test > 0).sum()):.1%} of the test "
        unknown += "" if tokenizer.closes else "words unknown"
        sizes = np.concatenate([sizes for _, sizes in found.values()])
        log.info(
            "%s: %s texts; vocabulary of %s %s%s; %d of %d texts are longer than %d %s and cut to it",
            where, counts, f"{len(tokenizer):,}", tokenizer.what, unknown, (sizes > length).sum(), len(sizes), length,
            tokenizer.what,
        )  # fmt: skip
        for name, part in parts.items():
            if len(empty := np.flatnonzero(found[name][1] == 0)):
                log.warning(
                    "%s: %d rows to %s have no word, such as %s: nothing tells them apart",
                    where, len(empty), name, part.ids[empty[0]],
                )  # fmt: skip
