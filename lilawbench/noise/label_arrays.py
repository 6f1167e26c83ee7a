"""Labels in files of arrays: .npz, .npy, .pt, and folders of two .npy files."""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lilawbench.support.errors import DataError

BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # what a damaged archive raises
FOLDERS = {"noisy_labels.npy": "true_labels.npy", "y_noisy.npy": "y_true.npy"}  # observed: clean; CILN has both


def labels_in(folder: Path) -> Path:
    """The file of observed labels in a folder, by name; a run's, where there is none."""
    return next((folder / name for name in FOLDERS if (folder / name).is_file()), folder / "labels.npz")


def read_arrays(path: Path) -> dict[str | int, np.ndarray]:
    """Arrays by name, or the only one as number 0.

    Raises:
        DataError: the file is damaged, or has something else in it.
    """
    if path.suffix == ".pt":
        return _read_pt(path)
    try:
        with path.open("rb") as file:  # np.load leaves a damaged archive open
            content = np.load(file, allow_pickle=False)
            arrays = {0: content} if isinstance(content, np.ndarray) else dict(content)
    except BROKEN as error:  # a pickled array is refused as ValueError
        raise DataError(f"{path} cannot be read: {error}") from error
    clean = path.parent / FOLDERS.get(path.name, "")
    return {"observed": arrays[0], "clean": read_arrays(clean)[0]} if clean.is_file() else arrays


def _read_pt(path: Path) -> dict[str | int, np.ndarray]:
    """Nothing but tensors and arrays is loaded: a pickle may run any code."""
    import torch

    kinds = [type(np.dtype(name)) for name in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")]
    rebuild: Any = np.empty(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]  # of NumPy 1 and 2
    try:
        with torch.serialization.safe_globals([*[(rebuild, name) for name in names], np.ndarray, np.dtype, *kinds]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (*BROKEN, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read: it must have tensors or arrays alone ({reason:.200})") from error
    arrays = content if isinstance(content, dict) else {0: content}
    found = {name: np.asarray(value) for name, value in arrays.items() if isinstance(value, torch.Tensor | np.ndarray)}
    if not found:
        raise DataError(f"{path} has no tensor or array; labels are one, or a dict of them")
    return found
