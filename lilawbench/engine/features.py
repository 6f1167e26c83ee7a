"""The frozen part of a linear probe, computed once for a whole sweep and kept in a file.

The file's name depends on what the features depend on: the data, the frozen weights, and how the network is run; not on
noise, split, method or seed. So all runs of a sweep share it, unless the frozen weights are random, since the seed
draws those. A run then trains on features instead of inputs, and its model's forward is the last two layers.
"""

import copy
import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from filelock import FileLock, Timeout
from omegaconf import DictConfig
from torch import Tensor, nn
from tqdm import tqdm

from lilawbench.config import plain
from lilawbench.datasets.base import Source
from lilawbench.engine.checkpoint import digest
from lilawbench.engine.forward import autocast_in, is_channels_last
from lilawbench.loading.image_files import ImageFiles
from lilawbench.loading.rows import Rows, Splits
from lilawbench.loading.streamed import rows_of
from lilawbench.methods.base import Method
from lilawbench.models.cut import Cut, cut, fits
from lilawbench.models.finetune import frozen_state
from lilawbench.noise.labels import Labels
from lilawbench.support.atomic import remove_parts, replacing
from lilawbench.support.errors import DataError, DiskError

log = logging.getLogger("lilawbench")
CHUNK_BYTES, DIGEST_BYTES = 1 << 20, hashlib.sha256().digest_size
FOREIGN = (errno.EACCES, errno.EPERM, errno.EROFS)
ALIKE = 0.02  # relative difference that other kernels or bf16 may make to the features of a row


class Features(Rows[Tensor]):
    """Rows of a table of features; on a CPU the table stays on disk, memory-mapped.

    Args:
        table: features of all rows of the file, [M, ...]. rows: those of this split, [N]. target: its labels, [N].
    """

    def __init__(self, table: Tensor, rows: Tensor, target: Tensor):
        on_disk = target.device.type == "cpu"
        super().__init__(table if on_disk else table[rows], target, device=target.device)
        self.table_rows = rows if on_disk else torch.arange(len(rows), device=target.device)

    def pixels(self, parts: Iterable[Tensor], *_: object, **__: object) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Rows.pixels`; features have no views to draw."""
        for rows in parts:
            yield rows, self.input.index_select(0, self.table_rows[rows])

    def part(self, rows: Tensor) -> "Features":
        """As `Rows.part`; the table is shared."""
        here = rows.to(self.device)
        part = copy.copy(self)
        part.target, part.table_rows = self.target[here], self.table_rows[here]
        return part


def use_features(
    cfg: DictConfig,
    source: Source,
    labels: Labels,
    splits: Splits,
    networks: Sequence[nn.Module],
    method: Method,
) -> Splits:
    """The three splits with features instead of inputs; the networks then get forwards that take features.

    Where that is impossible, splits and networks stay as they are, and a log line says why.

    Args:
        networks: of one frozen part (`share_frozen`).
        labels: rows of train and val in the training table. splits: with inputs.
    """
    if reason := _reason_against(cfg, source, splits, method):
        log.info("frozen features are not cached: %s", reason)
        return splits
    model, device = networks[0], splits[0].device
    parts, autocast = cut(model), autocast_in(cfg.train.precision, device)
    inputs = [input for input in (source.train_input, source.val_input, source.test_input) if input is not None]
    scale = (source.mean, source.std, device, source.resize_px, source.interpolation)
    whole = [rows_of(input, torch.zeros(len(input)), *scale) for input in inputs]
    sample = whole[0].batch(torch.arange(1, device=device)).input
    if parts is None or not fits(model, parts, sample):
        log.info("frozen features are not cached: model=%s cannot be cut before its last two layers", cfg.model.name)
        return splits
    path = Path(cfg.paths.output_dir) / "features" / f"{features_key(cfg, source, inputs, model, device)}.npy"
    rows = sum(map(len, whole))
    first = next(_features(model, parts, [sample], autocast))
    features = stored(path, rows, first, lambda: _computed(model, parts, whole, autocast))
    take_features(networks)
    places = (labels.train, labels.val, np.arange(rows - len(source.test_input), rows))
    train, val, test = (
        Features(features, torch.from_numpy(place), split.target) for place, split in zip(places, splits, strict=True)
    )
    return train, val, test


def take_features(networks: Sequence[nn.Module]) -> None:
    """Gives networks the forwards that take features, of their own last two layers; one of the kind has been cut."""
    for network in networks:
        parts = cut(network)
        assert parts is not None
        network.forward = parts.logits


def features_key(
    cfg: DictConfig, source: Source, inputs: list[Tensor | ImageFiles], model: nn.Module, device: torch.device
) -> str:
    """32 hex digits of the data, the frozen weights and buffers, and how the network is run.

    For images in files, their names, sizes and times of change stand for the data.
    """
    left_out = ("num_classes", "pretrained", "checkpoint", "rename")
    kept = {key: value for key, value in plain(cfg.model).items() if key not in left_out}
    layout = source.resize_px, is_channels_last(model)
    run = [kept, source.mean, source.std, *layout, cfg.train.precision, device.type]
    run += [source.interpolation] if source.interpolation != "bilinear" else []  # files of older runs have no such word
    data = [tensor for input in inputs for tensor in (input.identity() if isinstance(input, ImageFiles) else [input])]
    return digest([*frozen_state(model).values(), *data], json.dumps(run, sort_keys=True).encode())[:32]


def stored(path: Path, rows: int, first: Tensor, compute: Callable[[], Iterable[Tensor]]) -> Tensor:
    """The table in a file, [rows, ...] float32, memory-mapped; it is written first if it is not there.

    Of several processes, one computes and the others wait. The file is whole or not there; one that was damaged later,
    or written by another version of the network's code, is computed again. In a folder that this user cannot write to
    (another's, or a read-only one) a file that is there is used, and otherwise the table stays in memory.

    Args:
        first: the first row, [1, ...]; the file's must be close to it. compute: the table in pieces, [B, ...] each.
    Raises:
        DataError: the file cannot be written, for want of space or the like.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path.with_suffix(".lock")):
            if (table := _read(path, rows, first)) is not None:
                return table
            remove_parts(path.parent, f"{path.name}.part-*")
            start = time.perf_counter()
            with replacing(path) as file:
                _write(file, rows, compute())
            log.info("frozen features computed in %.1f s: %s", time.perf_counter() - start, path)
            return _mapped(path)
    except (OSError, DiskError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in FOREIGN:
            table = _read(path, rows, first)
            return _in_memory(path, compute()) if table is None else table
        size, reason = rows * first.numel() * 4 / 1e9, getattr(cause, "strerror", None) or cause
        raise DataError(
            f"{path} cannot be written: {reason}. It takes {size:.1f} GB; paths.output_dir=FOLDER puts it "
            "elsewhere, train.cache_features=false does without"
        ) from error


def _in_memory(path: Path, pieces: Iterable[Tensor]) -> Tensor:
    log.warning("%s cannot be written by this user: the frozen features stay in this process's memory", path)
    return torch.cat([piece.float().cpu() for piece in pieces])


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """A lock that the kernel frees if the process dies; a log line says when another process has it."""
    held = FileLock(lock, mode=0o666)  # other users of the folder wait for it too
    try:
        held.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process, which computes the frozen features (%s)", lock)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _mapped(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: torch warns of read-only memory


def _read(path: Path, rows: int, first: Tensor) -> Tensor | None:
    """The table in a file, if that is undamaged, has `rows` rows and its first is close to `first`."""
    try:
        if not path.exists():
            return None
        table, first = _mapped(path), first[0].float().cpu()
        alike = table.shape == (rows, *first.shape) and (table[0] - first).norm() <= ALIKE * first.norm()
        if alike and _undamaged(path):
            log.info("frozen features are read from %s", path)
            return table
    except (
        OSError,
        ValueError,
        EOFError,
        TypeError,
        SyntaxError,
        RuntimeError,
    ):  # by where in its header the damage is
        pass
    log.warning("%s is damaged or from another version of the code; the frozen features are computed again", path)
    return None


def _write(file: BinaryIO, rows: int, pieces: Iterable[Tensor]) -> None:
    """Piece by piece: a full disk is an error here; in a memory map it would kill the process. A digest follows the
    table; NumPy reads the file all the same."""
    found = hashlib.sha256()
    for piece in pieces:
        values = np.ascontiguousarray(piece.float().cpu().numpy())
        if file.tell() == 0:
            shape = (rows, *values.shape[1:])
            header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(values.data)
        found.update(values.data)
    file.write(found.digest())


def _undamaged(path: Path) -> bool:
    """Whether the digest at the end of the file is that of its table; some 2 GB a second."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        left, found = os.fstat(file.fileno()).st_size - file.tell() - DIGEST_BYTES, hashlib.sha256()
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            found.update(chunk)
            left -= len(chunk)
        return left == 0 and file.read() == found.digest()


def _computed(
    model: nn.Module, parts: Cut, whole: list[Rows], autocast: Callable[[], AbstractContextManager]
) -> Iterator[Tensor]:
    """Features of all rows, with a progress bar."""
    inputs = (batch.input for rows in whole for batch in rows.in_order())
    total = sum(map(len, whole))
    with tqdm(total=total, desc="frozen features", unit="row", disable=None) as bar:
        for features in _features(model, parts, inputs, autocast):
            yield features
            bar.update(len(features))


def _features(
    model: nn.Module, parts: Cut, inputs: Iterable[Tensor], autocast: Callable[[], AbstractContextManager]
) -> Iterator[Tensor]:
    mode = model.training
    model.eval()
    try:
        for input in inputs:
            with torch.no_grad(), autocast():
                features = parts.features(input)
            yield features
    finally:
        model.train(mode)


def _reason_against(cfg: DictConfig, source: Source, splits: Splits, method: Method) -> str | None:
    if any(cfg.train.augment.values()) or cfg.split.val_augment:
        return "augmentation changes them"
    if cfg.attack.eps:
        return "attacks change the inputs"
    if method.perturbs_inputs:
        return f"method={cfg.method.name} changes the inputs, by an attack or by mixing rows"
    if "strong" in method.views and splits[0].scaled:
        return f"{type(method).__name__} trains on augmented views"
    if source.copy is not None:
        return "each seed draws its own copies of training rows"
    rows, used = source.num_labelled + len(source.test_input), sum(map(len, splits))
    if cfg.train.epochs * used < rows:
        return f"all {rows} rows would cost more than {cfg.train.epochs} epoch(s) of {used}"
    return None
