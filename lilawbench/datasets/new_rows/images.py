"""New images: in files, or as arrays of pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lilawbench.datasets.folder_names import IMAGES, ending_of, is_hidden
from lilawbench.datasets.new_rows.arrays import from_npz
from lilawbench.datasets.new_rows.base import Labelling, NewRows, Reader, checked_labels, numbered
from lilawbench.datasets.npz import told
from lilawbench.datasets.pixel_arrays import pixels_of
from lilawbench.loading.image_files import ImageFiles, file_ids
from lilawbench.loading.pixels import Levels, is_image
from lilawbench.support.errors import DataError, first_of
from lilawbench.support.plain import Tree

if TYPE_CHECKING:
    import torch

log = logging.getLogger("lilawbench")


class ImageReader(Reader):
    """A folder of images or one image, cut to the run's frame as its own were; or pixels of exactly its size, in an
    .npz file with `images` [N, H, W] or [N, H, W, C]. In memory: an array or tensor of pixels, or a list of files.

    Args:
        shape: [C, H, W] of the run's images. resize: shorter side before the cut; None: H. levels: of deep and
            transparent images, as the run's own had them.
    """

    kind: ClassVar[str] = "images"
    folders: ClassVar[bool] = True

    def __init__(self, shape: Sequence[int], resize: int | None = None, levels: Levels | None = None):
        self.shape, self.resize, self.levels = tuple(shape), resize, levels or Levels()
        channels, height, width = self.shape
        size = f"{height}x{width} pixels, {channels} channel{'s' if channels > 1 else ''}"
        self.wants = f"a folder of images, an image, or an .npz file with images of {size}"

    def read(self, path: Path, labelling: Labelling | None = None) -> NewRows:
        if path.is_dir():
            return self._folder(path, labelling)
        if path.suffix == ".npz":
            return from_npz(path, "images", self._rows, labelling)
        return self._files(path.parent, [os.fsencode(path.name)])

    def take(self, raw: object) -> NewRows:
        import torch

        if isinstance(raw, torch.Tensor):  # [N, C, H, W], as the program's own
            if raw.dtype != torch.uint8 or tuple(raw.shape[1:]) != self.shape:
                raise self._misfit(f"the tensor is {raw.dtype} {list(raw.shape)}")
            return NewRows(raw, numbered(len(raw)))
        if isinstance(raw, np.ndarray):
            return self._rows(raw, "the array")
        if isinstance(raw, Sequence) and not isinstance(raw, str | bytes) and raw:
            paths = [os.path.abspath(os.fspath(file)) for file in raw]
            return self._files(Path("/"), [os.fsencode(file) for file in paths])
        raise DataError(f"the images are a {type(raw).__name__}; give an array, a tensor, a list of files or a path")

    def _rows(self, array: np.ndarray, where: str) -> NewRows:
        import torch

        if not len(array):
            raise DataError(f"{where} has no rows")
        found = pixels_of(array, where)
        if found.shape[1:] != self.shape:
            raise self._misfit(f"{where} is {told(array)}")
        input: torch.Tensor = torch.from_numpy(found)
        return NewRows(input, numbered(len(found)))

    def _misfit(self, what: str) -> DataError:
        channels, height, width = self.shape
        return DataError(
            f"{what}; the run's images have {channels} channel(s) of {height}x{width} pixels: scale or convert them. "
            "A folder of images is scaled as the run's own were"
        )

    def _folder(self, root: Path, labelling: Labelling | None) -> NewRows:
        names, others = _images_in(root)
        if not names:
            raise DataError(
                f"{root} has no image{f' ({first_of(others)})' if others else ''}; this run reads {self.wants}"
            )
        if others:
            log.info("%s: no images, left out: %s", root, first_of(others))
        found = self._files(root, names)
        return found if labelling is None else NewRows(found.input, found.ids, _classes_of(root, found.ids, labelling))

    def _files(self, root: Path, names: Sequence[bytes]) -> NewRows:
        channels, height, width = self.shape
        if height != width:
            raise DataError(f"{root}: this run's images are {height}x{width} pixels, not square; give {self.wants}")
        images = ImageFiles(root, np.array(names, dtype=np.bytes_), height, self.resize, channels)
        images.levels = self.levels
        images[images.sample()].load()  # what is wrong with all of them is found before anything is written
        return NewRows(images, file_ids(images.names))

    def described(self) -> dict[str, Tree]:
        return {"shape": list(self.shape), "resize": self.resize, "levels": self.levels._asdict()}

    @classmethod
    def of(cls, described: Mapping[str, Tree]) -> ImageReader:
        return cls(described["shape"], described["resize"], Levels(**described["levels"]))


def _images_in(root: Path) -> tuple[list[bytes], list[str]]:
    """Paths of the images below a folder, in order, and of the other files; hidden ones are neither."""
    base, names, others = os.fsencode(root), [], []
    for folder, below, files in os.walk(base):
        below[:] = sorted(name for name in below if not is_hidden(name))
        for name in sorted(file for file in files if not is_hidden(file)):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, base)
            image = ending_of(name) in IMAGES or is_image(os.fsdecode(path))
            names.append(relative) if image else others.append(os.fsdecode(relative))
    return names, others


def _classes_of(root: Path, ids: np.ndarray, labelling: Labelling) -> np.ndarray | None:
    """The class folder that each image lies in; None: the folders are none of classes."""
    folders = [str(name).split("/")[0] if "/" in str(name) else "" for name in ids]
    if not set(folders) & set(labelling.class_names):
        return None
    return checked_labels(np.array(folders, dtype=str), labelling, str(root))
