"""Images that lie in larger files, such as tar files: read by their place in them, decoded as images in files are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np

from lilawbench.loading.image_files import RULES, ImageFiles
from lilawbench.loading.pixels import Levels

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
        root, names: for messages alone. The others: see `ImageFiles`.
    """

    def __init__(
        self,
        pack: Pack,
        numbers: np.ndarray,
        root: Path,
        names: np.ndarray,
        size: int,
        resize: int | None = None,
        channels: int = 3,
        threads: int | None = None,
        levels: Levels | None = None,
        said: set[str] | None = None,
    ):
        super().__init__(root, names, size, resize, channels, threads, levels, said)
        self.pack, self.numbers = pack, numbers

    def __getitem__(self, rows: np.ndarray) -> PackedImages:
        """As `ImageFiles`."""
        frame = self.size, self.resize, self.channels, self.threads
        return PackedImages(self.pack, self.numbers[rows], self.root, self.names[rows], *frame, self.levels, self.said)

    def identity(self) -> list[torch.Tensor]:
        """As `ImageFiles`, with the pack's state in place of each file's size and time."""
        import torch

        levels = [self.levels.white or 0, self.levels.background, RULES]
        frame = torch.tensor([self.size, self.resize, self.channels, *levels], dtype=torch.float64)
        state = torch.frombuffer(bytearray(self.pack.state()), dtype=torch.uint8)
        return [frame, torch.from_numpy(self.numbers.copy()), state]

    def content(self, row: int) -> IO[bytes]:
        """The encoded image."""
        return io.BytesIO(self.pack.read(int(self.numbers[row])))
