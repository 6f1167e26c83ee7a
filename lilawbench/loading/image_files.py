"""Images that stay in their files: names that take the place of a uint8 tensor and are decoded row by row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import torch
    from PIL import Image

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
MOST_NAMED = 10  # files named in one message
MOST_THREADS = 8


class ImageFiles:
    """Rows of images below one folder, scaled so that the shorter side is `resize`, then cut to the centre `size`.

    The names are one array of bytes: a million of them take tens of MB and no Python objects. JPEGs are decoded at a
    half, a quarter ... of their size while that is no smaller than `resize`.

    Args:
        root: the folder. names: [N] numpy bytes, paths below it.
        size: side of the square, pixels. resize: shorter side before the cut, >= size; None: size.
        channels: 3 (colour) | 1 (grey).
        threads: number of decoding threads; None: one per core, at most 8.
    Raises:
        ValueError: size, resize, channels or threads out of range.
    """

    ndim = 4

    def __init__(
        self,
        root: Path,
        names: np.ndarray,
        size: int,
        resize: int | None = None,
        channels: int = 3,
        threads: int | None = None,
    ):
        check_frame(size, resize, channels, threads)
        self.root, self.names = Path(root), names
        self.size, self.resize, self.channels, self.threads = size, resize or size, channels, threads

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[N, C, size, size], as decoded."""
        return len(self), self.channels, self.size, self.size

    def __getitem__(self, rows: np.ndarray) -> ImageFiles:
        """Some of the rows; nothing is decoded."""
        return ImageFiles(self.root, self.names[rows], self.size, self.resize, self.channels, self.threads)

    def identity(self) -> list[torch.Tensor]:
        """Identifies the images without reading them: frame, names, and each file's size and time."""
        import torch

        found = (os.stat(self.path(row)) for row in range(len(self)))
        stats = np.array([(file.st_size, file.st_mtime_ns) for file in found], dtype=np.int64)
        names = np.frombuffer(self.names.tobytes(), dtype=np.uint8).copy()
        frame = torch.tensor([self.size, self.resize, self.channels])
        return [frame, torch.from_numpy(names), torch.from_numpy(stats)]

    def path(self, row: int) -> str:
        return os.path.join(self.root, os.fsdecode(self.names[row]))

    def start(
        self, rows: Sequence[int], shifts: np.ndarray | None = None, own: Sequence[int] | None = None
    ) -> Decoding:
        """Starts to decode rows.

        Args:
            shifts: (dy, dx) of each window from the centre, pixels, [2, B]; black outside the image. None: none.
            own: which of them, as positions in `rows`; the others stay black. None: all.
        """
        return Decoding(self, rows, shifts, own)

    def load(self) -> torch.Tensor:
        """All rows, [N, C, size, size] uint8. Raises: as `Decoding.wait`."""
        return self.start(range(len(self))).wait()

    def _decode(self, row: int, dy: int, dx: int, out: np.ndarray) -> str:
        """Fills `out` and returns what went wrong, or "". Pillow and NumPy release the GIL meanwhile."""
        from PIL import Image

        mode = "RGB" if self.channels == 3 else "L"
        try:
            with Image.open(self.path(row)) as image:
                image.draft(mode, (self.resize, self.resize))
                out[:] = (
                    np.asarray(self._framed(image.convert(mode), int(dy), int(dx)))
                    .reshape(self.size, self.size, self.channels)
                    .transpose(2, 0, 1)
                )
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            return f"{type(error).__name__}: {error}".replace(f" {self.path(row)!r}", "")
        return ""

    def _framed(self, image: Image.Image, dy: int, dx: int) -> Image.Image:
        """As torchvision's Resize and CenterCrop, the crop moved by the shift."""
        from PIL import Image

        width, height = image.size
        short = min(width, height)
        if short != self.resize:
            scaled = (int(self.resize * width / short), int(self.resize * height / short))
            image = image.resize(scaled, Image.Resampling.BILINEAR)
        left = round((image.width - self.size) / 2) + dx
        top = round((image.height - self.size) / 2) + dy
        return image.crop((left, top, left + self.size, top + self.size))


class Decoding:
    """Rows of `ImageFiles` on their way into memory."""

    def __init__(
        self,
        files: ImageFiles,
        rows: Sequence[int],
        shifts: np.ndarray | None = None,
        own: Sequence[int] | None = None,
    ):
        own = range(len(rows)) if own is None else own
        shifts = np.zeros((2, len(rows)), dtype=int) if shifts is None else shifts
        self.files, self.rows = files, [rows[i] for i in own]
        self.out = np.zeros((len(rows), *files.shape[1:]), dtype=np.uint8)
        pool = _pool(files.threads or default_threads())
        self.jobs = [pool.submit(files._decode, rows[i], shifts[0, i], shifts[1, i], self.out[i]) for i in own]

    def wait(self) -> torch.Tensor:
        """The images, [B, C, size, size] uint8.

        Raises:
            DataError: images cannot be read; they are counted and the first ten named.
        """
        import torch

        try:
            errors = [job.result() for job in self.jobs]
        except BaseException:  # an interrupt: without this the process would decode the rest before it ends
            self.cancel()
            raise
        wrong = [f"{self.files.path(row)} ({error})" for row, error in zip(self.rows, errors) if error]
        if wrong:
            raise DataError(
                f"{len(wrong)} of {len(self.jobs)} images cannot be read: {first_named(wrong)}; replace or remove them"
            )
        return torch.from_numpy(self.out)

    def cancel(self) -> None:
        """Cancels what has not started."""
        for job in self.jobs:
            job.cancel()


def loaded(inputs: torch.Tensor | ImageFiles) -> torch.Tensor:
    """Inputs in memory, wherever they are. Raises: as `Decoding.wait`."""
    return inputs.load() if isinstance(inputs, ImageFiles) else inputs


def check_frame(size: int, resize: int | None, channels: int = 3, threads: int | None = None) -> None:
    """Raises: ValueError, as `ImageFiles`."""
    if not (isinstance(size, int) and size >= 1):
        raise ValueError(f"size is {size}; it must be a whole number of pixels >= 1")
    if resize is not None and not (isinstance(resize, int) and resize >= size):
        raise ValueError(f"resize is {resize}; it must be null or a whole number of pixels >= size, {size}")
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; it must be 1 (grey) or 3 (colour)")
    if threads is not None and not (isinstance(threads, int) and threads >= 1):
        raise ValueError(f"threads is {threads}; it must be null or a whole number >= 1")


def first_named(names: Sequence[str] | Sequence[bytes]) -> str:
    """The first ten of a list, and how many more there are."""
    more = len(names) - MOST_NAMED
    shown = [os.fsdecode(name) for name in names[:MOST_NAMED]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def default_threads() -> int:
    return min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """One for all splits of the process."""
    return ThreadPoolExecutor(threads, thread_name_prefix="decode")
