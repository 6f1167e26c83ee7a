"""The record on disk: config.yaml, labels.npz, metrics.jsonl per epoch; result.json comes last and marks it as done."""

import hashlib
import json
import logging
import math
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from lilawbench.support.atomic import replacing, writable, write_atomic
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

log = logging.getLogger("lilawbench")


def write_json(path: Path, content: dict[str, Tree]) -> None:
    """Raises: DiskError; ValueError, a number is not finite."""
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def finite(tree: Tree) -> Tree:
    """A tree with null for numbers that are not finite: JSON has none."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def read_json(path: Path) -> dict[str, Tree]:
    """Raises: DataError naming a damaged file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); delete it to have its run done again") from error


def write_config(folder: Path, cfg: DictConfig) -> None:
    """Writes the resolved config. Raises: DiskError."""
    head = "# python -m lilawbench.train --config-dir FOLDER_OF_THIS_FILE does this run again, or what is left of it.\n"
    write_atomic(folder / "config.yaml", head + OmegaConf.to_yaml(cfg, resolve=True))


def write_labels(folder: Path, **arrays: np.ndarray) -> str:
    """Saves the labels and rows of a run; of a resumed one, checks them against those on disk.

    Returns:
        sha256 of the observed labels, hex.
    Raises:
        DataError: the labels differ from those on disk (another version of NumPy may draw others).
    """
    path = folder / "labels.npz"
    if (kept := _labels(path)) is not None:
        drawn = {name: array for name, array in arrays.items() if name in kept or name not in ("ids", "test_ids")}
        if not all(name in kept and np.array_equal(kept[name], array) for name, array in drawn.items()):
            raise DataError(
                f"{path} holds other labels than this program draws now (NumPy {np.__version__}): use the "
                f"versions that the run began with, or delete the folder {folder} to start over"
            )
    else:
        with replacing(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
    observed = arrays["observed"]
    wide = np.float64 if np.issubdtype(observed.dtype, np.floating) else np.int64
    return hashlib.sha256(np.ascontiguousarray(observed, dtype=wide).tobytes()).hexdigest()


def _labels(path: Path) -> dict[str, np.ndarray] | None:
    """Those on disk; None where there are none, or damaged ones, since they can be drawn again."""
    try:
        with path.open("rb") as file:  # np.load leaves a damaged archive open
            return dict(np.load(file, allow_pickle=False))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        log.warning("%s is damaged (%s): the labels are drawn again", path, error)
        return None


class MetricsWriter:
    """metrics.jsonl: one JSON object per line, flushed to the disk after every epoch.

    Args:
        path: the file. keep_bytes: its length at the last checkpoint; what follows is cut off. crc32: of these bytes;
            None: not known.
    Raises:
        DataError: the file is shorter than that, or has other bytes.
    """

    def __init__(self, path: Path, keep_bytes: int = 0, crc32: int | None = None):
        if keep_bytes and (not path.exists() or path.stat().st_size < keep_bytes):
            raise DataError(
                f"{path} is shorter than its checkpoint says; delete the folder {path.parent} to start over"
            )
        self.path = path
        self.crc32 = zlib.crc32(path.read_bytes()[:keep_bytes]) if keep_bytes else 0
        if crc32 not in (None, self.crc32) and keep_bytes:
            raise DataError(f"{path} is damaged; delete the folder {path.parent} to start over")
        with writable(path):
            self.file = path.open("ab", buffering=0)
            self.file.truncate(keep_bytes)

    def write(self, rows: list[dict[str, Tree]]) -> int:
        """Appends rows and returns the length of the file. Raises: DiskError; the file is then as it was."""
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        length = os.fstat(self.file.fileno()).st_size
        with writable(self.path):
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[self.file.write(rest) :]
                os.fsync(self.file.fileno())
            except OSError:
                self.file.truncate(length)
                raise
        self.crc32 = zlib.crc32(lines, self.crc32)
        return length + len(lines)

    def rows(self, kind: str) -> list[dict[str, Tree]]:
        """All rows of a kind ("step" | "method" | "epoch") so far."""
        with self.path.open(encoding="utf-8") as lines:
            return [row for row in map(json.loads, lines) if row["kind"] == kind]

    def close(self) -> None:
        """Closes the file; all rows are on the disk already."""
        self.file.close()
