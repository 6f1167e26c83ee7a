"""Texts as numbers: a word is its place in a list of the words that training texts have."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from lilawbench.support.plain import Tree

PADDING, UNKNOWN, FIRST = 0, 1, 2  # numbers: behind a text, of a word that is not in the list, of the first that is
WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)  # of web pages
NAME_WORDS, NAME_LETTERS = 8, 60  # of a text, in what its row is called


class Tokenizer(ABC):
    """Makes numbers of texts; 0 is behind a text."""

    kind: ClassVar[str]
    what: ClassVar[str]  # its numbers stand for, for messages
    closes: ClassVar[bool] = False  # whether the last number closes a text, however much is cut

    @abstractmethod
    def __len__(self) -> int:
        """How many numbers there are, 0 included."""

    @abstractmethod
    def numbers(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The numbers of each text, from 1 on."""

    @abstractmethod
    def described(self) -> dict[str, Tree]:
        """All that it needs, as plain values."""

    @classmethod
    @abstractmethod
    def of(cls, described: Mapping[str, Tree]) -> Tokenizer:
        """What `described` was made from. Raises: KeyError, TypeError, ValueError: no such values."""


class Words(Tokenizer):
    """Words in small letters and single punctuation marks, by their place in a list; those not in it share a number.

    Args:
        known: the list, from the number 2 on.
    """

    kind = "words"
    what = "words"

    def __init__(self, known: Sequence[str]):
        self.known = list(known)
        self.number = {word: number for number, word in enumerate(self.known, FIRST)}

    @classmethod
    def fitted(cls, texts: Sequence[str], most: int | None, min_count: int) -> Words:
        """The words of some texts, the most frequent first, those of one frequency in the order of the alphabet.

        Args:
            most: keep so many; None: all. min_count: leave out words that are rarer.
        Raises:
            ValueError: none is left.
        """
        counts = Counter(word for text in texts for word in words(text))
        often = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        if not often:
            raise ValueError(f"none of the {len(counts):,} words is there {min_count} times; lower dataset.min_count")
        return cls(often[:most])

    def __len__(self) -> int:
        return len(self.known) + FIRST

    def numbers(self, texts: Sequence[str]) -> Iterator[list[int]]:
        return ([self.number.get(word, UNKNOWN) for word in words(text)] for text in texts)

    def described(self) -> dict[str, Tree]:
        return {"kind": self.kind, "known": self.known}

    @classmethod
    def of(cls, described: Mapping[str, Tree]) -> Words:
        return cls(described["known"])


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text."""
    return WORD.findall(plain(text).lower())


def plain(text: str) -> str:
    """A text in one line: composed characters, single blanks, which line breaks of web pages count as."""
    return " ".join(unicodedata.normalize("NFC", BREAK.sub(" ", text)).split())


def row_name(place: str, text: str) -> str:
    """What a person calls a row: its place, and how it begins."""
    start = " ".join(plain(text).split(" ", NAME_WORDS)[:NAME_WORDS])[:NAME_LETTERS].rstrip()
    return f"{place}: {start}" if start else place


def encoded(tokenizer: Tokenizer, texts: Sequence[str], length: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of texts, and how many numbers each had before it was cut.

    Args:
        length: numbers that are kept, the first ones; None: all of the longest text.
    Returns:
        [N, length] int64, 0 behind a shorter text, and [N] int64.
    """
    rows = list(tokenizer.numbers(texts))
    sizes = np.array([len(row) for row in rows], dtype=np.int64)
    longest = max(1, int(sizes.max(initial=0))) if length is None else length
    out = np.full((len(rows), longest), PADDING, dtype=np.int64)
    for number, row in enumerate(rows):
        kept = [*row[: longest - 1], row[-1]] if tokenizer.closes and len(row) > longest else row[:longest]
        out[number, : len(kept)] = kept
    return out, sizes
