"""The measures against torchmetrics, over drawn and degenerate predictions: what runs recorded before holds."""

import math

import pytest
import torch
from torchmetrics.functional import classification as tm
from torchmetrics.functional import regression as tm_values

from lilawbench.metrics.measure import headline, measure
from lilawbench.metrics.ranking import auroc


def logits_of(kind: str, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randn(shape, generator=generator)
    return {
        "drawn": drawn,
        "tied": drawn.round(),
        "constant": torch.zeros(shape),
        "sure": drawn * 1e4,  # probabilities of 0 and 1
        "half precision": drawn.bfloat16().float(),
        "float64": drawn.double(),
    }[kind]


KINDS = ("drawn", "tied", "constant", "sure", "half precision", "float64")


def expected_of_classes(logits: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """As the measures were taken with torchmetrics."""
    num_classes, scores = logits.shape[1], logits.double()
    predicted, present = logits.argmax(1), target.unique()
    recalls = tm.multiclass_recall(predicted, target, num_classes, average="none")
    out = {"balanced_accuracy": recalls[present].mean()}
    out["accuracy"] = tm.multiclass_accuracy(predicted, target, num_classes, average="micro")
    if num_classes > 5:
        out["top5_accuracy"] = tm.multiclass_accuracy(scores, target, num_classes, average="micro", top_k=5)
    for name, function in (
        ("precision", tm.multiclass_precision),
        ("recall", tm.multiclass_recall),
        ("f1", tm.multiclass_f1_score),
    ):
        out[name] = function(predicted, target, num_classes, average="macro")
        if num_classes == 2:
            of_each = function(predicted, target, num_classes, average="none")
            out |= {f"{name}_class{number}": value for number, value in enumerate(of_each)}
            out[f"weighted_{name}"] = function(predicted, target, num_classes, average="weighted")
    if len(present) > 1:
        out["auroc"] = sum(tm.binary_auroc(scores.softmax(1)[:, k], (target == k).long()) for k in present) / len(
            present
        )
        areas = {int(k): tm.binary_average_precision(scores.softmax(1)[:, k], (target == k).long()) for k in present}
        out["average_precision"] = areas[1] if num_classes == 2 else torch.stack(list(areas.values())).mean()
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes, present, samples", [(2, 2, 40), (2, 1, 7), (5, 3, 60), (9, 9, 200), (7, 2, 3)])
def test_one_class_a_sample(kind, num_classes, present, samples):
    generator = torch.Generator().manual_seed(samples)
    logits = logits_of(kind, (samples, num_classes), generator)
    target = torch.randint(present, (samples,), generator=generator) + num_classes - present
    out = measure(logits, target)
    expected = {name: value.item() for name, value in expected_of_classes(logits, target).items()}
    assert {name: out[name] for name in out if name != "loss"} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_several_labels_a_sample(kind, share):
    """Of six labels nobody has the first and everybody the second; the third is never predicted."""
    generator = torch.Generator().manual_seed(3)
    logits = logits_of(kind, (50, 6), generator)
    target = (torch.rand(50, 6, generator=generator) < share).long()
    target[:, 0], target[:, 1], logits[:, 2] = 0, 1, -1.0
    out = measure(logits, target)
    scores, predicted = logits.double().sigmoid(), (logits > 0).long()
    columns = list(zip(scores.unbind(1), predicted.unbind(1), target.unbind(1)))
    there = [column for column in columns if column[2].any()]
    expected = {"mAP": torch.stack([tm.binary_average_precision(s, y) for s, _, y in there]).mean().item()}
    if mixed := [column for column in there if not column[2].all()]:
        expected["auroc"] = torch.stack([tm.binary_auroc(s, y) for s, _, y in mixed]).mean().item()
    expected["accuracy"] = tm.binary_accuracy(predicted.flatten(), target.flatten()).item()
    counted = [(p, y) for _, p, y in columns if p.any() or y.any()]
    for name, function in (
        ("precision", tm.binary_precision),
        ("recall", tm.binary_recall),
        ("f1", tm.binary_f1_score),
    ):
        expected[name] = torch.stack([function(*column) for column in counted]).mean().item()
    assert {name: out[name] for name in out if name != "loss"} == pytest.approx(expected, abs=1e-6)
    assert headline(logits, target) == out["mAP"]


def test_scores_that_are_not_numbers_keep_their_measures():
    """A network that overflows in evaluation alone: no such score is equal to another, all are above the numbers, and
    the first is above the second (torchmetrics sorts more than 16 in no certain order).
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(16, 3, generator=generator)
    logits[::4] = math.nan
    target = torch.randint(3, (16,), generator=generator)
    expected = {name: value.item() for name, value in expected_of_classes(logits, target).items()}
    out = measure(logits, target)
    assert {name: out[name] for name in out if name != "loss"} == pytest.approx(expected, abs=1e-6)


def test_values():
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 1e3):
        target = scale * torch.randn(40, generator=generator)
        logits = (target + scale * torch.randn(40, generator=generator))[:, None]
        out, pair = measure(logits, target), (logits[:, 0].double(), target.double())
        expected = {
            "loss": tm_values.mean_squared_error(*pair).item(),
            "rmse": tm_values.mean_squared_error(*pair, squared=False).item(),
            "mae": tm_values.mean_absolute_error(*pair).item(),
            "r2": tm_values.r2_score(*pair).item(),
        }
        assert out == pytest.approx(expected, rel=1e-6)


def test_many_columns_are_ranked_in_parts(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    scores, truth = torch.randn(20, 7, generator=generator), torch.rand(20, 7, generator=generator) < 0.5
    whole = auroc(scores, truth)
    monkeypatch.setattr("lilawbench.metrics.ranking.LARGEST", 40)
    assert torch.equal(auroc(scores, truth), whole)
