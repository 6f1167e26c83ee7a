"""The predictions that a run is judged by: logits of validation and test rows at the epochs that rules choose."""

from pathlib import Path

import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.per_class import confusion, per_class
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.probes.best import BestSoFar
from lilawbench.probes.chosen_files import named, write_confusion, write_per_class, write_predictions
from lilawbench.support.plain import State, Tree
from lilawbench.tasks import CLASSES

MOST_NAMED = 20  # classes of which result.json has these too: every report reads it whole


class Chosen(Probe):
    """Keeps what `last` and `best_val` choose, for other probes to look at in the end.

    val, test: logits by rule, [V, K] and [M, K], on the host; without validation rows there is no best_val.
    epochs: the epoch of each.

    result(): for each rule R of up to 20 classes or labels, of test rows, "R.test_precision.NAME", "R.test_recall.NAME"
    and "R.test_f1.NAME" and, of one class a sample, "R.confusion" (counts [K, K], rows: labels, columns: predictions);
    of two classes "positive_class", which recall, TPR and DP are shares of.

    Args:
        keep: write predictions.npz, predictions.csv, per_class.csv and confusion.csv, the last two of all classes.
    """

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self.val: dict[str, Tensor] = {}
        self.test: dict[str, Tensor] = {}
        self.epochs: dict[str, int] = {}
        self.best = BestSoFar()

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        rules = ["last", "best_val"] if self.best.see(self.scene.task, predictions) else ["last"]
        for rule in rules:
            self.test[rule], self.epochs[rule] = predictions.test, epoch.number
            if predictions.val is not None:
                self.val[rule] = predictions.val
        return {}

    def state_dict(self) -> State:
        return {"val": self.val, "test": self.test, "epochs": self.epochs, "rank": self.best.rank}

    def load_state_dict(self, state: State) -> None:
        self.val = {rule: logits.cpu() for rule, logits in state["val"].items()}
        self.test = {rule: logits.cpu() for rule, logits in state["test"].items()}
        self.epochs, self.best.rank = dict(state["epochs"]), state["rank"]

    def result(self) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        task, names = self.scene.task.name, self.scene.source.class_names
        if task == "binary":
            found["positive_class"] = names[1]
        if task == "regression":
            return found
        for rule, logits in self.test.items():
            if logits.shape[1] > MOST_NAMED:
                continue
            if task in CLASSES:
                found[f"{rule}.confusion"] = self._confusion(logits).tolist()
            for row in self._per_class(logits):
                found |= {f"{rule}.test_{key}.{row['class']}": row[key] for key in ("precision", "recall", "f1")}
        return found

    def _confusion(self, logits: Tensor) -> Tensor:
        return confusion(logits.argmax(1), self.scene.test_target, logits.shape[1])

    def _per_class(self, logits: Tensor) -> list[dict[str, Tree]]:
        target, outputs = self.scene.test_target, logits.shape[1]
        if self.scene.task.name in CLASSES:
            classes = torch.arange(outputs)
            predicted, truth = logits.argmax(1)[:, None] == classes, target[:, None] == classes
        else:
            predicted, truth = logits > 0, target == 1
        return per_class(predicted, truth, named(self.scene.source.class_names, outputs))

    def files(self, folder: Path) -> None:
        """Writes predictions.npz and .csv, and of classes or labels per_class.csv and confusion.csv."""
        if not self.keep or not self.test:
            return
        write_predictions(folder, self.scene, self.val, self.test)
        task = self.scene.task.name
        if task != "regression":
            write_per_class(folder / "per_class.csv", {rule: self._per_class(of) for rule, of in self.test.items()})
        if task in CLASSES:
            classes = named(self.scene.source.class_names, self.test["last"].shape[1])
            write_confusion(
                folder / "confusion.csv", {rule: self._confusion(of) for rule, of in self.test.items()}, classes
            )
