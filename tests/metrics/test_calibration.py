"""Calibration errors and temperatures: bins worked by hand, netcal's figures, a fit by another's optimiser."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import brier_score_loss, log_loss
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from lilawbench.metrics.calibration import BINS, calibration, scaled, temperature
from lilawbench.metrics.measure import measure

# of `made`, by netcal 1.4.0: ECE(15), ECE(15, equal_intervals=False), the mean of ECE(15) over the columns, each as
# a probability of its own, 1 / TemperatureScaling().temperature
NETCAL = {
    (4, 2.0): (0.24376242339581514, 0.23533885394589668, 0.14381346389005126, 4.2474747984977705),
    (4, 0.5): (0.1028707351983375, 0.09975321645798375, 0.06748137104676054, 1.0618684679138202),
    (10, 4.0): (0.4223643854003169, 0.42236438540031684, 0.09956403540300465, 10.909272014746021),
}


def made(num_classes: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """600 rows of which about half have the label with the largest logit."""
    row, column = torch.arange(600, dtype=torch.float64)[:, None], torch.arange(num_classes)
    logits = 2 * torch.sin(1 + 0.7 * row * (column + 1)) + torch.cos(0.3 * row)
    target = torch.where(row[:, 0] % 2 == 0, (row[:, 0] // 2).long() % num_classes, logits.argmax(1))
    return scale * logits * (1 + column / 10), target


def of_confidence(*rows: tuple[float, bool]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of two classes, the first with the given confidence, and whether it is the right one."""
    logits = torch.tensor([[100.0 if p == 1 else math.log(p / (1 - p)), 0.0] for p, _ in rows], dtype=torch.float64)
    return logits, torch.tensor([0 if right else 1 for _, right in rows])


def test_bins_by_hand():
    """.62 and .65 are in the bin [.6, .667), .81 is in [.8, .867): gaps |1.27 - 1| and |.81 - 1|, so that ECE is
    (.27 + .19) / 3. The two classes' probabilities mirror each other, and so do their bins. Brier: 2 (.38^2 + .65^2 +
    .19^2) / 3; NLL: -(log .62 + log .35 + log .81) / 3.
    """
    found = calibration(*of_confidence((0.62, True), (0.65, False), (0.81, True)))
    assert found.measures["ece"] == pytest.approx(0.46 / 3)
    assert found.measures["ece_class"] == pytest.approx(0.46 / 3)
    assert found.measures["ece_mass"] == pytest.approx((0.38 + 0.65 + 0.19) / 3)  # a bin for each row
    assert found.measures["brier"] == pytest.approx(2 * (0.38**2 + 0.65**2 + 0.19**2) / 3)
    assert found.measures["nll"] == pytest.approx(-math.log(0.62 * 0.35 * 0.81) / 3)
    full = {at: row for at, row in enumerate(found.diagram) if row[2]}
    assert full.keys() == {9, 12} and len(found.diagram) == BINS
    assert full[9] == pytest.approx([0.635, 0.5, 2]) and full[12] == pytest.approx([0.81, 1.0, 1])
    assert found.diagram[0] == [None, None, 0]


def test_confidence_of_exactly_one_is_in_the_last_bin():
    """Saturated networks are that sure of memorised labels. 1.0 (wrong) and .95 (right) share the last bin: |1.95 - 1|
    / 2. torchmetrics (its issue 3510) gives 1.0 a bin of its own beyond the last: (1 + .05) / 2."""
    logits, target = of_confidence((1.0, False), (0.95, True))
    assert logits.softmax(1)[0, 0] == 1.0
    found = calibration(logits, target)
    assert found.diagram[-1] == pytest.approx([0.975, 0.5, 2])
    assert found.measures["ece"] == pytest.approx(0.475)
    theirs = multiclass_calibration_error(logits.softmax(1), target, num_classes=2, n_bins=BINS)
    assert theirs.item() == pytest.approx(0.525)  # once this fails, the remark above is out of date


def test_rows_of_one_confidence_share_their_accuracy():
    """30 rows of .75, two in three right: bins of two rows are all of accuracy 2/3, in whatever order the rows come."""
    rows = [(0.75, at % 3 != 0) for at in range(30)]
    for order in (rows, sorted(rows), rows[::-1]):
        assert calibration(*of_confidence(*order)).measures["ece_mass"] == pytest.approx(0.75 - 2 / 3)


@pytest.mark.parametrize(("num_classes", "scale"), NETCAL)
def test_against_netcal(num_classes, scale):
    logits, target = made(num_classes, scale)
    *errors, netcal_temperature = NETCAL[num_classes, scale]
    found = calibration(logits, target).measures
    assert [found["ece"], found["ece_mass"], found["ece_class"]] == pytest.approx(errors, abs=1e-12)
    assert temperature(logits, target).item() == pytest.approx(netcal_temperature, rel=1e-4)  # where its search ends


def test_proper_scores_against_scikit_learn():
    logits, target = made(4, 2.0)
    found, probs = calibration(logits, target).measures, logits.softmax(1)
    assert found["nll"] == pytest.approx(log_loss(target, probs))
    assert found["brier"] == pytest.approx(brier_score_loss(target, probs, scale_by_half=False, labels=range(4)))


@pytest.mark.parametrize("scale", [0.01, 0.5, 1e4])
def test_temperature_is_where_the_loss_is_least(scale):
    """By scipy's search, and the slope by autograd is zero there. Scaled logits have a scaled temperature."""
    logits, target = made(5, scale)
    found = temperature(logits.float(), target)
    one = temperature(*made(5, 1.0)).item()
    assert found.dtype == torch.float64 and found.item() == pytest.approx(scale * one, rel=1e-5)

    def loss(log_t: float) -> float:
        return F.cross_entropy(logits / math.exp(log_t), target).item()

    near = math.log(2 * scale)
    assert math.log(found) == pytest.approx(minimize_scalar(loss, (near, near + 1)).x, abs=1e-6)
    log_t = temperature(logits, target).log().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(logits / log_t.exp(), target), log_t)
    assert abs(slope.item()) < 1e-9


def test_each_label_has_its_temperature():
    """Labels drawn where logits are halves and doubles of theirs, one that all rows have, one whose logits mislead."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 4, generator=generator, dtype=torch.float64)
    odds = logits * torch.tensor([0.5, 2.0, 1.0, -1.0])
    target = (torch.rand(4000, 4, generator=generator) < odds.sigmoid()).long()
    logits[:, 2], target[:, 2] = logits[:, 2].abs(), 1
    found = temperature(logits, target)
    assert found[:2].tolist() == pytest.approx([2.0, 0.5], rel=0.1)
    assert found[2:].isnan().all()
    for label in (0, 1):
        inverse = (1 / found[label]).requires_grad_()
        loss = F.binary_cross_entropy_with_logits(logits[:, label] * inverse, target[:, label].double())
        assert abs(torch.autograd.grad(loss, inverse)[0].item()) < 1e-9
    assert torch.equal(scaled(logits, found)[:, 2:], logits[:, 2:])


def test_several_labels_are_decisions_in_one_pool():
    """p = .9 and .3 of labels that are there and not: confidences .9 and .7, both right. Class-wise |.9 - 1|, |.3|."""
    logits = torch.tensor([[0.9, 0.3]], dtype=torch.float64).logit()
    found = calibration(logits, torch.tensor([[1, 0]])).measures
    assert found["ece"] == pytest.approx((0.1 + 0.3) / 2) and found["ece_class"] == pytest.approx((0.1 + 0.3) / 2)
    assert found["brier"] == pytest.approx((0.1**2 + 0.3**2) / 2)
    assert found["nll"] == pytest.approx(-math.log(0.9 * 0.7) / 2)


def test_probabilities_that_are_all_in_the_first_bin():
    """Of 20 classes, all of probability .05; class 0 has 3 rows of 4, class 1 one: gaps .7, .2 and 18 of .05."""
    found = calibration(torch.zeros(4, 20), torch.tensor([0, 0, 0, 1]))
    assert found.measures["ece_class"] == pytest.approx((0.7 + 0.2 + 18 * 0.05) / 20)
    assert found.measures["ece"] == pytest.approx(0.75 - 0.05)


def test_no_temperature_is_best():
    """Where all rows are right, and where the logits mislead."""
    logits, _ = made(4, 1.0)
    assert temperature(logits, logits.argmax(1)).isnan()
    assert temperature(logits, logits.argmin(1)).isnan()
    assert torch.equal(scaled(logits, temperature(logits, logits.argmin(1))), logits)


def test_what_a_temperature_cannot_change():
    """LiLAW's Table 7 prints other top-1 and top-5 accuracies after calibration; the AUROC alone can move."""
    logits, target = made(8, 3.0)
    before, after = (measure(one, target) for one in (logits, scaled(logits, temperature(logits, target))))
    for name in ("accuracy", "top5_accuracy", "balanced_accuracy"):
        assert before[name] == after[name]
    assert before["auroc"] != after["auroc"]
    binary, target = made(2, 3.0)
    assert measure(binary, target)["auroc"] == measure(scaled(binary, temperature(binary, target)), target)["auroc"]


def test_blocks_of_rows_change_nothing(monkeypatch):
    logits, target = made(8, 3.0)
    whole, fitted = calibration(logits, target), temperature(logits, target)
    monkeypatch.setattr("lilawbench.metrics.calibration.BLOCK", 8 * 77)
    assert calibration(logits, target).measures == pytest.approx(whole.measures, abs=1e-14)
    assert temperature(logits, target).item() == pytest.approx(fitted.item(), rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite(bad):
    logits, target = made(4, 1.0)
    logits[3, 1] = bad
    assert temperature(logits, target).isnan()
    assert math.isnan(calibration(logits, target).measures["nll"])
