"""The predictions of a run as files: all logits for programs, one line a row for people."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from lilawbench.probes.base import Scene
from lilawbench.support.atomic import replacing, write_atomic
from lilawbench.support.plain import Tree
from lilawbench.tasks import CLASSES

MOST_LINES = 100_000  # of predictions.csv; with more rows there is predictions.npz alone


def write_predictions(folder: Path, scene: Scene, val: Mapping[str, Tensor], test: Mapping[str, Tensor]) -> None:
    """predictions.npz and, of up to 100,000 rows, predictions.csv.

    The first has `RULE.val` and `RULE.test`, logits [n, K] float32 (of values the value), `val_ids` and `test_ids` (the
    rows' names, or their numbers in labels.npz and in the test part), `val_target` (labels as the method sees them),
    `test_target` and `class_names`. The second has a line a row: its label, and by rule the predicted class with its
    probability; several labels are joined by "; ".

    Args:
        val, test: logits by rule.
    """
    source, rows = scene.source, scene.labels.val
    ids, test_ids = source.labelled_ids, source.test_ids
    names = {
        "val": (rows if ids is None else ids[rows]).astype(str),
        "test": (np.arange(len(scene.test)) if test_ids is None else test_ids).astype(str),
    }
    target = {"val": scene.val_target.numpy(), "test": scene.test_target.numpy()}
    logits = {"val": val, "test": test}
    classes = named(source.class_names, next(iter(test.values())).shape[1])
    arrays = {f"{rule}.{part}": of.float().numpy() for part, by_rule in logits.items() for rule, of in by_rule.items()}
    arrays |= {f"{part}_ids": of for part, of in names.items()} | {f"{part}_target": of for part, of in target.items()}
    with replacing(folder / "predictions.npz", flush=False) as file:
        np.savez(file, **arrays, class_names=np.array(classes))  # type: ignore[arg-type]  # none is allow_pickle
    if len(names["val"]) + len(names["test"]) > MOST_LINES:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    told = 2 if scene.task.name in CLASSES else 1  # columns of a rule
    writer.writerow(
        ["split", "row", "label", *(f"{rule}{end}" for rule in test for end in ("", "_probability")[:told])]
    )
    for part, by_rule in logits.items():
        if by_rule:
            labels = _named_labels(target[part], classes, scene.task.name)
            columns = [column for rule in test for column in _predicted(by_rule[rule], classes, scene.task.name)]
            writer.writerows(zip([part] * len(labels), names[part].tolist(), labels, *columns, strict=True))
    write_atomic(folder / "predictions.csv", text.getvalue(), flush=False)


def write_confusion(path: Path, counts: Mapping[str, Tensor], classes: Sequence[str]) -> None:
    """A line for each rule and class of the label, with the counts [K, K] of what test rows were predicted to be."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rule", "label", *(f"predicted {name}" for name in classes)])
    for rule, table in counts.items():
        writer.writerows([rule, name, *row] for name, row in zip(classes, table.tolist(), strict=True))
    write_atomic(path, text.getvalue(), flush=False)


def write_per_class(path: Path, rows: Mapping[str, Sequence[Mapping[str, Tree]]]) -> None:
    """A line for each rule and class: the rows of `metrics.per_class`, empty where a share is 0 / 0."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["rule", "class", "n", "precision", "recall", "f1"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"rule": rule, **row} for rule, of in rows.items() for row in of)
    write_atomic(path, text.getvalue(), flush=False)


def named(names: Sequence[str], outputs: int) -> list[str]:
    """Names of a network's outputs: the classes', then numbers where model.num_classes asks for more."""
    return [*map(str, names), *map(str, range(len(names), outputs))]


def _named_labels(target: np.ndarray, classes: Sequence[str], task: str) -> list[str]:
    if task == "regression":
        return [f"{value:.6g}" for value in target.tolist()]
    if task == "multilabel":
        return _joined(target == 1, classes)
    return [classes[number] for number in target.tolist()]


def _predicted(logits: Tensor, classes: Sequence[str], task: str) -> Iterable[list[str]]:
    if task == "regression":
        yield [f"{value:.6g}" for value in logits[:, 0].tolist()]
    elif task == "multilabel":
        yield _joined((logits > 0).numpy(), classes)
    else:
        best, number = logits.softmax(1).max(1)
        yield [classes[place] for place in number.tolist()]
        yield [f"{value:.4g}" for value in best.tolist()]


def _joined(there: np.ndarray, classes: Sequence[str]) -> list[str]:
    return ["; ".join(name for name, is_there in zip(classes, row) if is_there) for row in there.tolist()]
