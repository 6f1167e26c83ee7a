"""The reader of a data set's new rows, and the one that a run has kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lilawbench.datasets.new_rows.arrays import ArrayReader
from lilawbench.datasets.new_rows.base import Reader
from lilawbench.datasets.new_rows.images import ImageReader
from lilawbench.datasets.new_rows.table import TableReader
from lilawbench.datasets.new_rows.text import TextReader
from lilawbench.support.plain import Tree

if TYPE_CHECKING:
    from lilawbench.datasets.base import Source

READERS: dict[str, type[Reader]] = {kind.kind: kind for kind in (TableReader, ArrayReader, ImageReader, TextReader)}


def reader_of(source: Source) -> Reader:
    """The data set's own; else images by their shape, and numbers as the network sees them."""
    if source.reader is not None:
        return source.reader
    images = source.is_image and source.mean is not None
    return ImageReader(source.input_shape) if images else ArrayReader(source.input_shape)


def described(reader: Reader) -> dict[str, Tree]:
    """A reader as plain values, with its kind."""
    return {"kind": reader.kind, **reader.described()}


def reader_from(values: Mapping[str, Tree]) -> Reader:
    """What `described` was made from. Raises: KeyError, TypeError, ValueError: no such values."""
    return READERS[values["kind"]].of(values)
