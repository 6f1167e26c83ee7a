"""Predictions of new rows by a finished run."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lilawbench.check.machine import check_device
from lilawbench.engine.forward import forward_in, lay_out
from lilawbench.engine.runtime import choose_device
from lilawbench.schema import Train
from lilawbench.support.errors import ConfigError, DataError
from lilawbench.support.plain import Tree
from lilawbench.tasks import CLASSES
from lilawbench.trained.model import load, own_prediction

log = logging.getLogger("lilawbench")
START = "row,predicted"  # of a file of predictions


@dataclass(frozen=True)
class Predicted:
    """Predictions of new rows.

    logits: [N, K] float32; of values the value, [N, 1]. names: of the K outputs. ids: of the rows, [N] str.
    given: see `NewRows`.
    """

    task: str
    names: tuple[str, ...]
    ids: np.ndarray
    logits: Tensor
    given: np.ndarray | None = None

    @property
    def probability(self) -> Tensor:
        """[N, K]: of classes, which sum to 1 in a row, or of each label."""
        return self.logits.softmax(1) if self.task in CLASSES else self.logits.sigmoid()

    def csv(self) -> str:
        """A line a row: its name; the predicted class, labels joined by "; ", or value; the label that came along; and
        the probability of each class or label, under its name."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns: dict[str, list[Tree]] = {"row": self.ids.tolist(), "predicted": self._predicted()}
        if self.given is not None:
            columns["given"] = ["" if value != value else value for value in self.given.tolist()]
        writer.writerow([*columns, *(f"p({name})" for name in self.names if self.task != "regression")])
        shares = [[]] * len(self.ids) if self.task == "regression" else self.probability.tolist()
        for row, share in zip(zip(*columns.values(), strict=True), shares, strict=True):
            writer.writerow([*row, *(f"{value:.6g}" for value in share)])
        return text.getvalue()

    def told(self) -> str:
        """How many rows, and how far the predictions agree with the labels that came along."""
        rows = f"{len(self.ids):,} rows"
        if self.given is None:
            return rows
        if self.task == "regression":
            error = self.logits[:, 0].double().numpy() - self.given
            known = ~np.isnan(error)
            return (
                f"{rows}; RMSE {np.sqrt(np.square(error[known]).mean()):.4g} of {known.sum():,} values"
                if known.any()
                else rows
            )
        known = self.given != ""
        right = np.array(self._predicted())[known] == self.given[known]
        return (
            f"{rows}; {right.sum():,} of the {known.sum():,} labels are predicted as they are given"
            if known.any()
            else rows
        )

    def _predicted(self) -> list[Tree]:
        if self.task == "regression":
            return [float(f"{value:.7g}") for value in self.logits[:, 0].tolist()]
        if self.task == "multilabel":
            there = (self.logits > 0).tolist()
            return ["; ".join(name for name, is_there in zip(self.names, row) if is_there) for row in there]
        return [self.names[number] for number in self.logits.argmax(1).tolist()]


def predict(
    run: str | Path,
    data: str | Path,
    rule: str | None = None,
    *,
    calibrated: bool = False,
    labels: bool = True,
    device: str = "auto",
    config_dir: str | Path | None = None,
) -> Predicted:
    """Predicts the rows of a file or folder as the run predicted its own: same preprocessing, batches and precision.

    Args:
        run, rule, config_dir: see `load_model`. data: see `Prepared.read`.
        calibrated: divide logits by the temperature that was fitted on the run's validation rows.
        labels: read labels that come along, to compare with.
        device: auto | cpu | cuda | cuda:N.
    Raises:
        DataError, ConfigError: as `load_model`; there is no such device; the rows are not as the run's own were; no
            temperature is recorded.
    """
    if wrong := check_device(device):
        raise ConfigError([problem.replace("train.device", "device") for problem in wrong])
    kept = load(run, rule, config_dir)
    folder, prepared, train = kept.folder, kept.prepared, kept.cfg.train
    if own_prediction(kept.cfg):
        raise DataError(
            f"{folder}: method={kept.cfg.method.name} predicts in a way of its own, which the networks alone do not "
            "tell; lilawbench.load_model gives them"
        )
    temperature = _temperature(kept.result, folder, kept.rule) if calibrated else None
    rows, place = prepared.read(data, labels), choose_device(device)
    network = lay_out(kept.network.to(place), train.channels_last, place)
    forward = forward_in(Train(precision=train.precision), network, place)
    with torch.no_grad():
        logits = torch.cat([forward(input).float().cpu() for input in prepared.batches(rows, place)])
    outputs = (*prepared.class_names, *map(str, range(len(prepared.class_names), logits.shape[1])))
    scaled = logits if temperature is None else logits / temperature
    return Predicted(prepared.task, outputs, rows.ids, scaled, rows.given)


def _temperature(result: Mapping[str, Tree], folder: Path, rule: str) -> Tensor:
    """[] or, of several labels, [K]."""
    found = result.get(f"{rule}.temperature", "")
    if found == "":
        raise DataError(
            f"{folder} has no temperature of {rule}: one is fitted to classes and labels, on validation rows, by this "
            "version or a later one"
        )
    if None in (found if isinstance(found, list) else [found]):
        raise DataError(f"{folder}: the temperature of {rule} is not finite: on validation rows, right and wrong "
                        "predictions have the same confidence")  # fmt: skip
    return torch.tensor(found, dtype=torch.float32)
