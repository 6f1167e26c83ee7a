"""How a run turns rows into inputs, and outputs into names: its preprocess.json, at work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lilawbench.datasets.base import seen_shape
from lilawbench.datasets.new_rows.base import Labelling, NewRows, Reader
from lilawbench.datasets.new_rows.readers import reader_from
from lilawbench.loading.streamed import rows_of
from lilawbench.models.preprocessing import FILE
from lilawbench.record.writer import read_json
from lilawbench.support.errors import DataError

VERSION = 1


@dataclass(frozen=True)
class Prepared:
    """Rows in, inputs of the network out: `preprocess(rows)`.

    Args:
        reader: of rows, as the run's data set read its own.
        task, class_names, input_shape, networks: of the run. mean, std: per channel, of images; None: there are none.
        resize_px, interpolation: side that images are scaled to for the network, and how; None: they are not.
    """

    reader: Reader
    task: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    networks: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize_px: int | None = None
    interpolation: str = "bilinear"

    def __call__(self, raw: object) -> Tensor:
        """Inputs [N, ...] on the host, float32; of texts int64.

        Args:
            raw: a path, as `read` takes it; or rows in memory: of a table a pandas DataFrame or a list of dicts; of
                features or series an array [N, ...]; of images pixels [N, H, W] or [N, H, W, C], a uint8 tensor
                [N, C, H, W], or a list of files; of texts a list of them, or a table with their column.
        Raises:
            DataError: they are not as the run's own rows were.
        """
        rows = self.read(raw) if isinstance(raw, str | os.PathLike) else self.reader.take(raw)
        return torch.cat(list(self.batches(rows)))

    def read(self, path: str | os.PathLike[str], labels: bool = False) -> NewRows:
        """The rows of a file or folder: a table, a folder of images or texts, an .npz file.

        Args:
            labels: read the labels too, where there are some.
        Raises:
            DataError: there is no such file, or its rows are not as the run's own were.
        """
        place = Path(path).expanduser()
        if not place.exists():
            raise DataError(f"{place} does not exist; this run reads {self.reader.wants}")
        if place.is_dir() and not self.reader.folders:
            raise DataError(f"{place} is a folder; this run reads {self.reader.wants}")
        return self.reader.read(place, Labelling(self.task, self.class_names) if labels else None)

    def batches(self, rows: NewRows, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        """Inputs of all rows in order, [B, ...] on a device, as `__call__` has them, in a run's batches to evaluate."""
        nothing = torch.zeros(len(rows.ids))
        scale = (self.mean, self.std, device, self.resize_px, self.interpolation)
        for batch in rows_of(rows.input, nothing, *scale).in_order():
            yield batch.input

    @property
    def network_shape(self) -> tuple[int, ...]:
        """Shape of a row as the network sees it."""
        return seen_shape(self.input_shape, self.mean, self.resize_px)


def read_prepared(run: Path) -> Prepared:
    """What a run has kept. Raises: DataError, its preprocess.json is missing, damaged or of another version."""
    path = run / FILE
    found = read_json(path)
    if found.get("version") != VERSION:
        raise DataError(
            f"{path} is of version {found.get('version')}, this lilawbench reads {VERSION}; do the run again"
        )
    try:
        return Prepared(
            reader_from(found["rows"]),
            found["task"],
            tuple(found["class_names"]),
            tuple(found["input_shape"]),
            found["networks"],
            _floats(found["mean"]),
            _floats(found["std"]),
            found["resize_px"],
            found.get("interpolation", "bilinear"),  # older runs had no other
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); do the run again") from error


def _floats(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
