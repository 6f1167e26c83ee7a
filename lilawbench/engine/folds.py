"""Predictions of training rows by networks that did not train on them: one network for each of k parts of the rows.

    for part of divided(...):
        train on all rows but these, as the run does;  predict these;  write them into folds/foldN.npz

A run that is started again reads the parts that have a file, and begins the first that has none anew.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from lilawbench.engine.evaluate import predict
from lilawbench.engine.loop import Epoch, Step, fit
from lilawbench.engine.optim import build_schedule
from lilawbench.loading.rows import Rows
from lilawbench.methods.base import Method
from lilawbench.methods.context import Context
from lilawbench.schema import Train
from lilawbench.support import host
from lilawbench.support.atomic import replacing, writable
from lilawbench.support.console import current
from lilawbench.support.distributed import World
from lilawbench.support.errors import ConfigError, RunFailed, first_of
from lilawbench.support.seeding import derive_seed

log = logging.getLogger("lilawbench")
FOLDER = "folds"


class Learner(NamedTuple):
    """What trains on the rows of all parts but one."""

    ctx: Context
    method: Method  # set up
    ends: Callable[[Epoch], bool]  # whether training stops early, after this epoch; the same on every rank
    step: Step | None  # see `fit`


def divided(
    rows: np.ndarray,
    observed: np.ndarray,
    class_names: Sequence[str],
    folds: int,
    seed: int,
    option: str = "detect.folds",
) -> list[np.ndarray]:
    """Places of the training rows in `folds` parts, each stratified by observed label; sorted, together 0..N-1.

    Args:
        rows: which labelled row each training row is, [N]; copies of a row are in one part. observed: labels of the
            training rows, [N] int64. class_names, option: for messages.
    Raises:
        ConfigError: a class has fewer rows than there are parts.
    """
    from sklearn.model_selection import StratifiedKFold

    kept, first = np.unique(rows, return_index=True)
    labels = observed[first]
    counts = np.bincount(labels, minlength=len(class_names))
    few = np.flatnonzero((counts > 0) & (counts < folds)).tolist()
    if few:
        said = first_of([f"{class_names[label]!r} has {counts[label]}" for label in few])
        rule = f"{option}={folds} needs {folds} training rows of each class that is given at all"
        raise ConfigError([f"{rule}; {said}: take fewer folds, or leave such classes out"])
    divider = StratifiedKFold(folds, shuffle=True, random_state=derive_seed(seed, "folds") % 2**32)
    fold_of = np.empty(len(kept), dtype=np.int64)
    for number, (_, held_out) in enumerate(divider.split(labels, labels)):
        fold_of[held_out] = number
    of_row = fold_of[np.searchsorted(kept, rows)]
    return [np.flatnonzero(of_row == number) for number in range(folds)]


def out_of_sample(
    folder: Path,
    train: Rows,
    parts: Sequence[np.ndarray],
    learner: Callable[[int, Rows], Learner],
    options: Train | DictConfig,
    saved: Callable[[], None],
    world: World,
    option: str = "detect.folds",
) -> Tensor:
    """Probabilities of all training rows, each by the network of its part after its last epoch, [N, K] float32.

    They are on the host. The global random stream is left anywhere: each epoch of training begins it anew.

    Args:
        folder: of the run. parts: see `divided`. learner: number of a part, from 0, and the rows of all others -> what
            trains on them. options: the run's `train` block. saved: called after each part that was trained now.
            option: that asks for the folds, for messages.
    Raises:
        RunFailed: as `fit`, with the number of the part. DiskError: a file cannot be written.
    """
    observed = host.bring(train.target, "labels of the folds").numpy()
    files = [File(folder / FOLDER / f"fold{number}.npz", rows, observed[rows]) for number, rows in enumerate(parts)]
    kept = world.main_does(lambda: [file.read() for file in files])
    todo = sum(probs is None for probs in kept)
    if todo:
        done = f" ({len(parts) - todo} done before)" if todo < len(parts) else ""
        log.info("%s=%d: %d further training(s) of %d epochs come first%s",
                 option, len(parts), todo, options.epochs, done)  # fmt: skip
    found: list[np.ndarray] = []
    for number, (file, probs) in enumerate(zip(files, kept)):
        if probs is None:
            start, name = time.perf_counter(), f"fold {number + 1} of {len(parts)}"
            rest = np.setdiff1d(np.arange(len(train)), file.rows)
            one = learner(number, train.part(torch.from_numpy(rest)))
            try:
                _train(one, options, f"{current(folder.name)}, {name}")
            except RunFailed as error:
                raise RunFailed(f"{option}, {name}: {error}") from error
            logits = predict(one.ctx, one.method, train.part(torch.from_numpy(file.rows)))
            probs = host.bring(logits, "logits of a fold").double().softmax(1).float().numpy()
            world.main_does(partial(file.write, probs))
            alike, seconds = (probs.argmax(1) == file.observed).mean(), time.perf_counter() - start
            log.info("%s: %.1f%% of its %d rows predicted as given, %.1f s", name, 100 * alike, len(probs), seconds)
            saved()
        found.append(probs)
    whole = np.empty((len(train), found[0].shape[1]), dtype=np.float32)
    for file, probs in zip(files, found):
        whole[file.rows] = probs
    return torch.from_numpy(whole)


def _train(one: Learner, options: Train | DictConfig, name: str) -> None:
    for epoch in fit(one.ctx, one.method, build_schedule(options), epochs=options.epochs, name=name, step=one.step):
        if one.ends(epoch):
            return


@dataclass(frozen=True)
class File:
    """A part's predictions on disk: complete or absent.

    Args:
        rows: places in the training table, [n] int64. observed: their labels, [n] int64.
    """

    path: Path
    rows: np.ndarray
    observed: np.ndarray

    def write(self, probs: np.ndarray) -> None:
        """Writes probabilities [n, K] float32. Raises: DiskError."""
        with writable(self.path):
            self.path.parent.mkdir(exist_ok=True)
        content = {"rows": self.rows, "observed": self.observed, "probs": probs}
        with replacing(self.path) as file:
            np.savez(file, sha256=np.array(self._digest(probs)), **content)  # type: ignore[arg-type]  # none is called allow_pickle

    def read(self) -> np.ndarray | None:
        """Probabilities [n, K]; None: there is no file, or it is damaged or of other rows or labels."""
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file:
                kept = np.load(file, allow_pickle=False)
                probs: np.ndarray = kept["probs"]
                if len(probs) == len(self.rows) and str(kept["sha256"]) == self._digest(probs):
                    return probs
        except Exception:  # of zip, zlib or NumPy, by where the damage is
            pass
        log.warning("%s is damaged, or of other rows: this fold is trained again", self.path)
        return None

    def _digest(self, probs: np.ndarray) -> str:
        parts = (self.rows.astype(np.int64), self.observed.astype(np.int64), probs)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
