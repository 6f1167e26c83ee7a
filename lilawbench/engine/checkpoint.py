"""Checkpoints: written whole or not at all, read without running any pickled code."""

import os
from pathlib import Path
from typing import Any

import torch

from lilawbench.errors import DataError


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes beside the target, flushes to the disk, then renames: a crash leaves the old file or the new one."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint with weights_only.

    Raises:
        DataError: the file is damaged or holds anything but tensors and plain values.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise DataError(
            f"checkpoint {path} cannot be read ({type(error).__name__}: {error}); delete it to start the run anew"
        ) from error
