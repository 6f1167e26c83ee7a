"""Images that stay in their files: names that take the place of a uint8 tensor and are decoded row by row."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

import numpy as np

from lilawbench.loading import pixels
from lilawbench.loading.pixels import Levels
from lilawbench.support.errors import DataError, first_of

if TYPE_CHECKING:
    import torch
    from PIL import Image

log = logging.getLogger("lilawbench")

MOST_THREADS = 8
LOOKED_AT = 100  # images of a data set that tell of all
RULES = 1  # of `pixels`: features of frozen layers are computed again where these have changed


class ImageFiles:
    """Rows of images below one folder, scaled so that the shorter side is `resize`, then cut to the centre `size`.

    The names are one array of bytes: a million of them take tens of MB and no Python objects. JPEGs are decoded at a
    half, a quarter ... of their size while that is no smaller than `resize`.

    Args:
        root: the folder. names: [N] numpy bytes, paths below it.
        size: side of the square, pixels. resize: shorter side before the cut, >= size; None: size.
        channels: 3 (colour) | 1 (grey).
        threads: number of decoding threads; None: one per core, at most 8.
        said: what was logged of these images; the parts of a data set share it.
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
        said: set[str] | None = None,
    ):
        check_frame(size, resize, channels, threads)
        self.root, self.names = Path(root), names
        self.size, self.resize, self.channels, self.threads = size, resize or size, channels, threads
        self.levels, self.said = Levels(), set() if said is None else said

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[N, C, size, size], as decoded."""
        return len(self), self.channels, self.size, self.size

    def __getitem__(self, rows: np.ndarray) -> Self:
        """Some of the rows; nothing is decoded."""
        part = copy.copy(self)
        part.names = self.names[rows]
        return part

    def sample(self) -> np.ndarray:
        """Some rows, evenly spaced."""
        return np.unique(np.linspace(0, len(self) - 1, min(LOOKED_AT, len(self))).astype(int))

    def level(self, white: float | None = None, background: int | None = None) -> None:
        """Sets the levels: those given, else those that fit a sample of the images.

        A file that cannot be read is left to the decoding, which names it.
        """

        def look(row: int) -> pixels.Look:
            try:
                return pixels.look(self.content(row))
            except Exception:  # Pillow's decoders raise nearly anything on damaged files
                return pixels.Look()

        looks = _pool(self.threads or default_threads()).map(look, self.sample().tolist())
        self.levels = pixels.levels_of(looks, white, background)

    def identity(self) -> list[torch.Tensor]:
        """Identifies the images without reading them: frame, names, and each file's size and time."""
        import torch

        found = (os.stat(self.path(row)) for row in range(len(self)))
        stats = np.array([(file.st_size, file.st_mtime_ns) for file in found], dtype=np.int64)
        names = np.frombuffer(self.names.tobytes(), dtype=np.uint8).copy()
        return [self._frame(), torch.from_numpy(names), torch.from_numpy(stats)]

    def _frame(self) -> torch.Tensor:
        """How images are decoded."""
        import torch

        levels = [self.levels.white or 0, self.levels.background, RULES]
        return torch.tensor([self.size, self.resize, self.channels, *levels], dtype=torch.float64)

    def path(self, row: int) -> str:
        return os.path.join(self.root, os.fsdecode(self.names[row]))

    def content(self, row: int) -> str | IO[bytes]:
        """Where Pillow finds the image."""
        return self.path(row)

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

    def _decode(self, row: int, dy: int, dx: int, out: np.ndarray) -> Decoded:
        """Fills `out`. Pillow and NumPy release the GIL meanwhile."""
        content: str | IO[bytes] = ""
        try:
            content = self.content(row)
            image, notes = pixels.read(content, "RGB" if self.channels == 3 else "L", self.resize, self.levels)
            framed = np.asarray(self._framed(image, int(dy), int(dx)))
            out[:] = framed.reshape(self.size, self.size, self.channels).transpose(2, 0, 1)
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
            return Decoded(f"{kind}{error}".replace(f" {content!r}", ""))
        return Decoded(notes=notes)

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


class Decoded(NamedTuple):
    """What there is to say of one image."""

    error: str = ""  # why it cannot be read
    notes: Sequence[str] = ()  # what had to be done to it


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
            decoded = [job.result() for job in self.jobs]
        except BaseException:  # an interrupt: without this the process would decode the rest before it ends
            self.cancel()
            raise
        wrong = [f"{self.files.path(row)} ({seen.error})" for row, seen in zip(self.rows, decoded) if seen.error]
        if wrong:
            raise DataError(
                f"{len(wrong)} of {len(self.jobs)} images cannot be read: {first_named(wrong)}; replace or remove them"
            )
        self._say(decoded)
        return torch.from_numpy(self.out)

    def _say(self, decoded: list[Decoded]) -> None:
        """Logs what had to be done to the images, a line for each kind and data set."""
        white, background = self.files.levels.white or pixels.RANGES[-1], self.files.levels.background
        more = {pixels.CLEAR: f" grey level {background}", pixels.DEEP: f": 0..{white:g} becomes 0..255"}
        for note in sorted({note for seen in decoded for note in seen.notes} - self.files.said):
            self.files.said.add(note)
            rows = [row for row, seen in zip(self.rows, decoded) if note in seen.notes]
            first = shown(self.files.names[rows[0]])
            log.info("%s: %d of %d images, such as %s, have %s%s",
                     self.files.root, len(rows), len(decoded), first, note, more.get(note, ""))  # fmt: skip

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
    return first_of([*map(shown, names)])


def shown(name: str | bytes) -> str:
    """A file's name as text; bytes that are no UTF-8 as \\xNN."""
    return os.fsencode(name).decode(errors="backslashreplace")


def file_ids(names: np.ndarray) -> np.ndarray:
    """Names of files [N] bytes as row ids, [N] str."""
    return np.char.decode(names, "utf-8", "backslashreplace")


def default_threads() -> int:
    return min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """One for all splits of the process."""
    return ThreadPoolExecutor(threads, thread_name_prefix="decode")
