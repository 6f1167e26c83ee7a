"""An .npz file of plain arrays, read without ever running a pickle."""

import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np

from lilawbench.datasets.own_path import own_path
from lilawbench.loading.download import at_hand
from lilawbench.support.errors import DataError

UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error
)  # fmt: skip  # RuntimeError: encrypted, or an unknown compression


class Npz:
    """The arrays of a file, each read when it is asked for. An .npz file cannot be mapped: an array is read whole.

    Args:
        path: the file; as it is, or below the data folder. option: that names it, for messages.
    Raises:
        DataError: there is no such file, or it is none of plain arrays.
    """

    def __init__(self, path: str | Path, data_dir: Path | None, option: str):
        found = own_path(path, data_dir, option, "an .npz file")
        at_hand(found)
        self.path = found
        try:
            with zipfile.ZipFile(found) as file:
                self.names = [name.removesuffix(".npy") for name in file.namelist()]
        except UNREADABLE as error:
            raise DataError(f"{found} is no .npz file (numpy.savez writes one): {error}") from error

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                array = file[name]
        except MemoryError as error:
            raise DataError(f"{self.path}: array {name!r} does not fit into memory: {error}") from error
        except UNREADABLE as error:
            if "allow_pickle" in str(error):
                raise DataError(
                    f"{self.path}: array {name!r} holds Python objects, which could run code and are not opened; save "
                    "numbers, or text as numpy.array(..., dtype=str)"
                ) from error
            raise DataError(f"{self.path}: array {name!r} cannot be read: {error}") from error
        if not isinstance(array, np.ndarray):
            raise DataError(f"{self.path}: {name!r} is no array of numpy's")
        return array

    def if_there(self, name: str) -> np.ndarray | None:
        if name not in self:
            return None
        return self[name]

    def texts(self, name: str, count: int) -> np.ndarray | None:
        """An array of names or numbers as text, [count] str; None if the file has none.

        Raises:
            DataError: it has another shape or kind.
        """
        array = self.if_there(name)
        if array is None:
            return None
        array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if array.shape != (count,) or array.dtype.kind not in "iuUS":
            raise DataError(f"{self.path}: {name} is {told(array)}; it must have a text or number for each of {count}")
        return array.astype(str) if array.dtype.kind in "iu" else text(array, f"{self.path}: {name}")


def text(array: np.ndarray, where: str) -> np.ndarray:
    """Text [N] in one form of Unicode, without blanks around it. Raises: DataError, bytes that are not UTF-8."""
    distinct, index = np.unique(array, return_inverse=True)
    known = []
    for one in distinct.tolist():
        try:
            known.append(one.decode() if isinstance(one, bytes) else one)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where} holds {one!r}, which is not UTF-8; save text as numpy.array(..., dtype=str)"
            ) from error
    return np.array([unicodedata.normalize("NFC", one).strip() for one in known], dtype=str)[index.reshape(-1)]


def told(array: np.ndarray) -> str:
    """Kind and shape of an array, for messages."""
    return f"{array.dtype} {list(array.shape)}"
