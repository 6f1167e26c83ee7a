"""Images in arrays, as people save them."""

import numpy as np

from lilawbench.datasets.npz import told
from lilawbench.support.errors import DataError


def pixels_of(array: np.ndarray, where: str) -> np.ndarray:
    """Images [N, C, H, W] uint8 from [N, H, W] or [N, H, W, C]; a lossless change of type alone is made."""
    if array.ndim == 4 and array.shape[3] not in (1, 3):
        hint = "; channels come last" if array.shape[1] in (1, 3) else ""
        raise DataError(f"{where} is {told(array)}; images are [N, H, W], [N, H, W, 1] or [N, H, W, 3]{hint}")
    whole = array.dtype == np.uint8 or (array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255)
    if not whole:
        spread = f", from {array.min():g} to {array.max():g}" if array.dtype.kind in "iuf" else ""
        raise DataError(
            f"{where} is {told(array)}{spread}; pixels are whole numbers from 0 to 255: choose what is black and what "
            "is white, and save numpy.uint8"
        )
    array = array.reshape(*array.shape[:3], -1).astype(np.uint8, copy=False)
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
