"""The predictions that a run is judged by: logits of validation and test rows at the epochs that rules choose."""

from pathlib import Path

import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.per_class import confusion, per_class
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.probes.best import BestSoFar
from lilawbench.probes.chosen_files import named, write_confusion, write_predictions
from lilawbench.support.plain import State, Tree
from lilawbench.tasks import CLASSES

MOST_LISTED = 100  # classes of which result.json has the confusion matrix
MOST_NAMED = 20  # classes of which result.json has the measures by name too, for tables


class Chosen(Probe):
    """Keeps what `last` and `best_val` choose, for other probes to look at in the end.

    val, test: logits by rule, [V, K] and [M, K], on the host; without validation rows there is no best_val.
    epochs: the epoch of each.

    result(): for each rule R of up to 100 classes or labels, of test rows, "R.per_class" (rows of `per_class`) and, of
    one class a sample, "R.confusion" (counts [K, K], rows: labels, columns: predictions); of up to 20,
    "R.test_recall.NAME" and the like; of two classes "positive_class", which recall, TPR and DP are shares of.

    Args:
        keep: write predictions.npz, predictions.csv and confusion.csv.
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
            outputs, target = logits.shape[1], self.scene.test_target
            if outputs > MOST_LISTED:
                continue
            if task in CLASSES:
                found[f"{rule}.confusion"] = confusion(logits.argmax(1), target, outputs).tolist()
                classes = torch.arange(outputs)
                predicted, truth = logits.argmax(1)[:, None] == classes, target[:, None] == classes
            else:
                predicted, truth = logits > 0, target == 1
            found[f"{rule}.per_class"] = rows = per_class(predicted, truth, named(names, outputs))
            for row in rows if outputs <= MOST_NAMED else ():
                found |= {f"{rule}.test_{key}.{row['class']}": row[key] for key in ("precision", "recall", "f1")}
        return found

    def files(self, folder: Path) -> None:
        """Writes predictions.npz and .csv, and confusion.csv."""
        if not self.keep or not self.test:
            return
        write_predictions(folder, self.scene, self.val, self.test)
        if self.scene.task.name in CLASSES:
            predicted = {rule: logits.argmax(1) for rule, logits in self.test.items()}
            outputs = self.test["last"].shape[1]
            counts = {rule: confusion(of, self.scene.test_target, outputs) for rule, of in predicted.items()}
            write_confusion(folder / "confusion.csv", counts, named(self.scene.source.class_names, outputs))
