"""The record on disk: config.yaml, labels.npz, metrics.jsonl per epoch; result.json comes last and marks it as done."""

import hashlib
import json
import math
import os
import zlib
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from lilawbench.support.atomic import replacing, writable, write_atomic
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Tree

LATER = (
    "ids",
    "test_ids",
    "given",
    "split",
    "test_target",
    "class_names",
)  # arrays that labels.npz did not have at first


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
    """The object in a file. Raises: DataError naming a damaged or unreadable file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; make it readable, or move it away") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); delete it to have its run done again") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no JSON object but {found!r:.40}; delete it to have its run done again")
    return found


def write_config(folder: Path, cfg: DictConfig) -> None:
    """Writes the resolved config. Raises: DiskError."""
    head = "# python -m lilawbench.train --config-dir FOLDER_OF_THIS_FILE does this run again, or what is left of it.\n"
    write_atomic(folder / "config.yaml", head + OmegaConf.to_yaml(cfg, resolve=True))


def write_labels(folder: Path, **arrays: np.ndarray) -> str:
    """Saves the labels and rows of a run; of a resumed one, checks them against those on disk.

    Returns:
        sha256 of the observed labels, hex.
    Raises:
        DataError: the file is damaged, or its labels differ (another version of NumPy may draw others).
    """
    path = folder / "labels.npz"
    if path.exists():
        try:
            with path.open("rb") as file:  # np.load leaves a damaged archive open
                kept = np.load(file, allow_pickle=False)
                drawn = {name: array for name, array in arrays.items() if name in kept or name not in LATER}
                same = all(name in kept and np.array_equal(kept[name], array) for name, array in drawn.items())
        except Exception as error:  # of zip, zlib or NumPy, by where the damage is
            raise _damaged(path, error) from error
        if not same:
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


class MetricsWriter:
    """metrics.jsonl: one JSON object per line, flushed to the disk after every epoch.

    Args:
        path: the file. keep_bytes: its length at the last checkpoint; what follows is cut off. crc32: of these bytes;
            None: not known.
    Raises:
        DataError: the file is shorter than that, or has other bytes. DiskError: it cannot be written.
    """

    def __init__(self, path: Path, keep_bytes: int = 0, crc32: int | None = None):
        try:
            before = path.read_bytes()[:keep_bytes] if keep_bytes and path.exists() else b""
        except OSError as error:
            raise _damaged(path, error) from error
        if len(before) < keep_bytes:
            raise DataError(
                f"{path} is shorter than its checkpoint says; delete the folder {path.parent} to start over"
            )
        self.path = path
        self.crc32 = zlib.crc32(before)
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
        """All rows of a kind ("step" | "method" | "epoch") so far. Raises: DataError, the file is damaged."""
        try:
            with self.path.open(encoding="utf-8") as lines:
                return [row for row in map(json.loads, lines) if row["kind"] == kind]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            self.close()
            raise _damaged(self.path, error) from error

    def close(self) -> None:
        """Closes the file; all rows are on the disk already."""
        self.file.close()


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged ({type(error).__name__}: {error}): put a good copy there, or delete the folder "
        f"{path.parent} to start over"
    )
