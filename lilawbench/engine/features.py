"""The frozen part of a linear probe, computed once for a whole sweep and kept in a file.

The file is named by what the features depend on: the data, the frozen weights, and how the network is run. Noise,
split, method and seed are no part of it, so that all of a sweep's runs share it (unless the frozen weights are random,
which the seed draws). A run then trains on features in the place of inputs, and its model's forward is the last two
layers.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from tqdm import tqdm

from lilawbench.data.base import Source
from lilawbench.data.loaders import Resident
from lilawbench.engine.forward import is_channels_last
from lilawbench.methods.base import Method
from lilawbench.models.cut import Cut, cut, fits

log = logging.getLogger("lilawbench")
CHUNK_ROWS = 4096  # hashed at a time


class Features(Resident):
    """Rows of a table of features; on a CPU the table stays on disk, memory-mapped.

    Args:
        table: features of all rows of the file, [M, ...]. rows: those of this split, [N]. target: its labels, [N].
    """

    def __init__(self, table: Tensor, rows: Tensor, target: Tensor):
        on_disk = target.device.type == "cpu"
        super().__init__(table if on_disk else table[rows], target, device=target.device)
        self.table_rows = rows if on_disk else torch.arange(len(rows), device=target.device)

    def pixels(self, parts: Iterable[Tensor], *unused: Any, **nothing: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Features have no views to draw."""
        for rows in parts:
            yield rows, self.input.index_select(0, self.table_rows[rows])


def use_features(
    cfg: DictConfig,
    source: Source,
    labels: dict[str, np.ndarray],
    splits: tuple[Resident, Resident, Resident],
    model: nn.Module,
    method: Method,
    autocast: Callable[[], AbstractContextManager],
) -> tuple[Resident, Resident, Resident]:
    """Train, validation and test split with features in the place of inputs, and `model` with a forward of such.

    Where that cannot be, both are left as they are, and a log line says why.

    Args:
        labels: rows of train and val in the training table. splits: with inputs, in that order.
    """
    if reason := _reason_against(cfg, source, splits, method):
        log.info("frozen features are not cached: %s", reason)
        return splits
    parts, device = cut(model), splits[0].device
    inputs = [input for input in (source.train_input, source.val_input, source.test_input) if input is not None]
    scale = (source.mean, source.std, device, cfg.train.resize_px)
    tables = [Resident(input, torch.zeros(len(input)), *scale) for input in inputs]
    if parts is None or not fits(model, parts, tables[0].batch(torch.arange(2, device=device)).input):
        log.info("frozen features are not cached: model=%s cannot be cut before its last two layers", cfg.model.name)
        return splits
    path = Path(cfg.paths.output_dir) / "features" / f"{features_key(cfg, source, inputs, model, device)}.npy"
    rows = sum(len(table) for table in tables)
    table = stored(path, rows, lambda: _computed(model, parts, tables, autocast))
    model.forward = parts.logits
    places = (labels["train"], labels["val"], np.arange(rows - len(source.test_input), rows))
    return tuple(
        Features(table, torch.from_numpy(place), split.target) for place, split in zip(places, splits, strict=True)
    )


def features_key(cfg: DictConfig, source: Source, inputs: list[Tensor], model: nn.Module, device: torch.device) -> str:
    """32 hex digits of the data, the frozen weights and buffers, and how the network is run."""
    digest = hashlib.sha256()
    options = OmegaConf.to_container(cfg.model, resolve=True)
    kept = {key: value for key, value in options.items() if key not in ("num_classes", "pretrained", "checkpoint")}
    layout = cfg.train.resize_px, is_channels_last(model)
    run = [kept, source.mean, source.std, *layout, cfg.train.precision, device.type]
    digest.update(json.dumps(run, sort_keys=True).encode())
    trained = {name.rsplit(".", 1)[0] for name, p in model.named_parameters() if p.requires_grad}
    frozen = [value for name, value in model.state_dict().items() if name.rsplit(".", 1)[0] not in trained]
    for tensor in (*frozen, *inputs):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        for piece in tensor.split(CHUNK_ROWS) if tensor.ndim else (tensor,):
            digest.update(piece.detach().cpu().contiguous().numpy())
    return digest.hexdigest()[:32]


def stored(path: Path, rows: int, compute: Callable[[], Iterable[Tensor]]) -> Tensor:
    """The table in a file, [rows, ...] float32, memory-mapped; written first if it is not there.

    Of several processes one computes and the others wait. The file is whole or not there.

    Args:
        compute: the table in pieces, [B, ...] each.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            log.info("frozen features are read from %s", path)
        else:
            start, part = time.perf_counter(), path.with_suffix(".part")
            _write(part, rows, compute())
            os.replace(part, path)
            log.info("frozen features computed in %.1f s: %s", time.perf_counter() - start, path)
    return torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: torch warns of read-only memory


def _write(path: Path, rows: int, pieces: Iterable[Tensor]) -> None:
    table, done = None, 0
    for piece in pieces:
        if table is None:
            shape = (rows, *piece.shape[1:])
            table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        table[done : done + len(piece)] = piece.float().cpu().numpy()
        done += len(piece)
    table.flush()


def _computed(
    model: nn.Module, parts: Cut, tables: list[Resident], autocast: Callable[[], AbstractContextManager]
) -> Iterator[Tensor]:
    mode = model.training
    model.eval()
    total = sum(len(table) for table in tables)
    with torch.no_grad(), autocast(), tqdm(total=total, desc="frozen features", unit="row", disable=None) as bar:
        for table in tables:
            for batch in table.in_order():
                yield parts.features(batch.input)
                bar.update(len(batch.index))
    model.train(mode)


def _reason_against(cfg: DictConfig, source: Source, splits: Sequence[Resident], method: Method) -> str | None:
    if any(cfg.train.augment.values()) or cfg.split.val_augment:
        return "augmentation changes them"
    if cfg.attack.eps or method.perturbs_inputs:
        return "attacks change the inputs"
    if not isinstance(source.train_input, Tensor):
        return "the images stay in their files"
    rows, used = len(source.labelled_clean) + len(source.test_input), sum(map(len, splits))
    if cfg.train.epochs * used < rows:
        return f"all {rows} rows would cost more than {cfg.train.epochs} epoch(s) of {used}"
    return None
