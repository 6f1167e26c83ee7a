"""What reads rows that a run has never seen as it read its own: fitted on its training rows, kept as plain JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

if TYPE_CHECKING:
    from torch import Tensor

    from lilawbench.loading.image_files import ImageFiles


@dataclass(frozen=True)
class Labelling:
    """What labels mean to a run, for new rows that come with some."""

    task: str
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class NewRows:
    """Rows to predict: inputs as a `Source` has them, before images are normalised."""

    input: Tensor | ImageFiles
    ids: np.ndarray  # [N] str, what a person calls each row
    given: np.ndarray | None = (
        None  # labels that came along, [N] str, "" where a row has none; values: [N] float64, NaN
    )


class Reader(ABC):
    """Reads new rows as the run's data set read its own."""

    kind: ClassVar[str]
    wants: str  # what it reads, for messages: "a folder of images"
    folders: ClassVar[bool] = False  # whether it reads a folder
    vocabulary: int | None = None  # of texts, see `Source`

    @abstractmethod
    def read(self, path: Path, labelling: Labelling | None = None) -> NewRows:
        """The rows of a file or folder.

        Args:
            labelling: of labels that come along; None: they are not looked at.
        Raises:
            DataError: there is no such file, a column is lacking, the rows have another shape, a label is no class.
        """

    @abstractmethod
    def take(self, raw: object) -> NewRows:
        """Rows in memory, of the kinds that the class names. Raises: DataError, as `read`."""

    @abstractmethod
    def described(self) -> dict[str, Tree]:
        """All that it needs, as plain values."""

    @classmethod
    @abstractmethod
    def of(cls, described: Mapping[str, Tree]) -> Reader:
        """What `described` was made from. Raises: KeyError, TypeError, ValueError: no such values."""


def numbered(count: int) -> np.ndarray:
    """Names of rows that have no others, [count] str."""
    return np.arange(count).astype(str)


def checked_labels(names: np.ndarray, labelling: Labelling, where: str) -> np.ndarray:
    """Labels [N] str, "" where a row has none. Raises: DataError, one is none of the run's classes."""
    strange = [name for name in np.unique(names).tolist() if name and name not in labelling.class_names]
    if strange:
        raise DataError(
            f"{where}: the label {strange[0]!r} is none of the run's {len(labelling.class_names)} classes "
            f"{', '.join(map(repr, labelling.class_names[:10]))}{', ...' if len(labelling.class_names) > 10 else ''}; "
            "correct it, or let --no-labels leave labels alone"
        )
    return names
