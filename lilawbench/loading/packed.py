"""Images that lie in larger files, such as tar files: read by their place in them, decoded as images in files are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, Self

import numpy as np

from lilawbench.loading.image_files import ImageFiles
from lilawbench.support.plain import Tree

if TYPE_CHECKING:
    import torch


class Pack(Protocol):
    """The encoded images of a data set, by number. Threads read at the same time."""

    def read(self, number: int) -> bytes:
        """Raises: DataError, it cannot be read."""
        ...

    def state(self) -> bytes:
        """Differs when a file of the pack has changed; its images are not read for that."""
        ...


class PackedImages(ImageFiles):
    """Rows of images in a pack.

    Args:
        pack: the images. numbers: [N] int64, of each row within the pack.
        root, names: for messages alone. frame: the other arguments of `ImageFiles`.
    """

    def __init__(self, pack: Pack, numbers: np.ndarray, root: Path, names: np.ndarray, **frame: Tree):
        super().__init__(root, names, **frame)
        self.pack, self.numbers = pack, numbers

    def __getitem__(self, rows: np.ndarray) -> Self:
        """As `ImageFiles`."""
        part = super().__getitem__(rows)
        part.numbers = self.numbers[rows]
        return part

    def identity(self) -> list[torch.Tensor]:
        """As `ImageFiles`, with the pack's state in place of each file's size and time."""
        import torch

        state = torch.frombuffer(bytearray(self.pack.state()), dtype=torch.uint8)
        return [self._frame(), torch.from_numpy(self.numbers.copy()), state]

    def content(self, row: int) -> IO[bytes]:
        """The encoded image."""
        return io.BytesIO(self.pack.read(int(self.numbers[row])))
