"""The labels of a run: what was observed, what is true where that is known, and which rows train."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.loading.split import stratified
from lilawbench.support.errors import ConfigError
from lilawbench.support.seeding import derive

log = logging.getLogger("lilawbench")


@dataclass(frozen=True)
class Labels:
    """Of all labelled rows: those of the training set, then those of an official validation set.

    Only noise, split and probes look at `clean`.
    """

    observed: np.ndarray  # [N], as `Source` has labels
    clean: np.ndarray | None  # likewise; None: nobody knows them
    train: (
        np.ndarray
    )  # rows, int64; where there are copies of training rows, it ends with `copied`, which it names twice
    val: np.ndarray
    copied: np.ndarray | None = None

    @property
    def clean_known(self) -> bool:
        return self.clean is not None

    def arrays(self) -> dict[str, np.ndarray]:
        """What labels.npz holds."""
        return {name: array for name, array in vars(self).items() if array is not None}


class SplitOptions(Protocol):
    """The `split` block of a config."""

    val_fraction: float | None
    val_labels: str
    train_samples: int | None


def draw_labels(
    source: Source, noise: Callable[..., np.ndarray], adds_noise: bool, split: SplitOptions, seed: int, dataset: str
) -> Labels:
    """Depends on the seed, the noise and the split, never on the method.

    Where nobody knows the clean labels there are none, unless noise is added: then the labels as given count as clean.

    Args:
        noise: given labels, number of classes, generator -> observed labels. adds_noise: False: it only passes them on.
        dataset: its name, for messages.
    Raises:
        ConfigError: the split leaves nothing to validate, or wants labels that nobody knows. ValueError: the noise does
            not fit these labels.
    """
    clean = source.labelled_clean
    observed = noise(source.labelled_given, source.num_classes, generator=derive(seed, "noise"))
    known = source.clean_known or adds_noise
    if source.val_clean is None:
        train, val = stratified(observed, split.val_fraction or 0.0, derive(seed, "split"))
    else:
        train, val = np.split(np.arange(len(clean)), [len(source.train_clean)])
        if split.val_fraction is not None:
            log.info("split.val_fraction=%s is not used: dataset=%s has its own %d validation rows",
                     split.val_fraction, dataset, len(val))  # fmt: skip
    if split.train_samples is not None and split.train_samples < len(train):
        share = split.train_samples / len(train)
        train = train[stratified(observed[train], share, derive(seed, "subset"))[1]]
    if len(train) < 2:
        raise ConfigError(
            [f"split.val_fraction={split.val_fraction} of {len(clean)} rows leaves {len(train)} to train on"]
        )
    if split.val_fraction and not len(val):
        raise ConfigError([f"split.val_fraction={split.val_fraction} of {len(clean)} rows leaves none to validate"])
    if split.val_labels == "clean":
        if not known:
            raise ConfigError([f"split.val_labels=clean: the clean labels of dataset={dataset} are not known"])
        observed[val] = clean[val]
    copied = None
    if source.copy is not None:
        copied = np.sort(derive(seed, "copied").permutation(train)[: len(train) // 2])
        train = np.concatenate([train, copied])
    return Labels(observed, clean if known else None, train, val, copied)
