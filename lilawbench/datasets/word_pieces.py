"""Texts as numbers by the tokenizer of a pretrained network."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

from lilawbench.datasets.words import PADDING, Tokenizer, plain
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

NEEDED = "pretrained tokenizers need the package tokenizers: pip install 'lilawbench[text]'"


class Encoding(Protocol):
    """What the library makes of a text."""

    ids: list[int]


class Library(Protocol):
    """What is used of its `Tokenizer`."""

    def no_truncation(self) -> None: ...
    def no_padding(self) -> None: ...
    def id_to_token(self, number: int) -> str | None: ...
    def get_vocab_size(self, with_added_tokens: bool) -> int: ...
    def encode_batch(self, texts: list[str]) -> list[Encoding]: ...
    def to_str(self) -> str: ...


class WordPieces(Tokenizer):
    """A tokenizer of Hugging Face's library, such as DistilBERT's: pieces of words between a first and a last mark.

    Raises:
        ValueError: its number 0 is not what texts are padded with.
    """

    kind = "pieces"
    what = "pieces"
    closes = True

    def __init__(self, tokenizer: Library):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        first = tokenizer.id_to_token(PADDING)
        if first is None or first.strip("[]<>").lower() != "pad":
            raise ValueError(f"its number 0 is {first!r} and not the padding, as BERT's is")
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size(with_added_tokens=True)

    def numbers(self, texts: Sequence[str]) -> Iterator[list[int]]:
        return (found.ids for found in self.tokenizer.encode_batch([plain(text) for text in texts]))

    def described(self) -> dict[str, Tree]:
        return {"kind": self.kind, "tokenizer": self.tokenizer.to_str()}

    @classmethod
    def of(cls, described: Mapping[str, Tree]) -> WordPieces:
        return cls(_library().Tokenizer.from_str(described["tokenizer"]))


def read_word_pieces(path: Path) -> WordPieces:
    """The tokenizer in a file: tokenizer.json, or the list of pieces of an uncased BERT, vocab.txt.

    Raises:
        DataError: the file is no tokenizer, or the library is not installed.
    """
    library = _library()
    try:
        if path.suffix == ".txt":
            found = library.implementations.BertWordPieceTokenizer(str(path), lowercase=True)
            return WordPieces(library.Tokenizer.from_str(found.to_str()))
        return WordPieces(library.Tokenizer.from_file(str(path)))
    except Exception as error:  # the library's own have no common class
        raise DataError(f"{path} is no tokenizer.json or vocab.txt that can be used: {error}") from error


def _library() -> ModuleType:
    try:
        importlib.import_module("tokenizers.implementations")
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise DataError(NEEDED) from error
