"""Calibration at the end of a run: what is fitted on which labels, and measured on test rows alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lilawbench.metrics.calibration import calibration, scaled, temperature
from lilawbench.probes import calibration as probe_module
from lilawbench.probes.calibration import Calibration
from lilawbench.report.captions import _calibration
from lilawbench.report.measured import of_runs
from lilawbench.tasks import TASKS

CLEAN = np.array([0, 0, 1, 1, 2, 2, 0, 1, 1])  # of `scene`'s rows; the last, which validates, is observed as 2
VAL = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.5, 2.0, 0.5]])
TEST = torch.tensor([[3.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
MISSED = torch.tensor([[0.0, 2.0, 0.0], [0.0, 2.0, 0.0], [2.0, 0.0, 0.5]])


def results(scene, val=None, **chosen):
    probe = Calibration(SimpleNamespace(epochs={"last": 3}, test={"last": TEST}, val=val or {}, **chosen))
    probe.setup(scene)
    return probe.result()


def test_fitted_on_validation_rows_measured_on_test_rows(scene):
    """One of three validation labels is wrong, and all are predicted right but for it: on clean labels no temperature
    is low enough."""
    found = results(scene(clean=CLEAN), {"last": VAL})
    fitted = temperature(VAL, torch.tensor([0, 1, 2]))
    assert found["last.temperature"] == fitted.item() > 0
    assert found["last.temperature_clean"] != found["last.temperature_clean"]
    after = calibration(TEST, torch.arange(3), fitted)
    assert found["last.test_ece_calibrated"] == after.measures["ece"] != found["last.test_ece"]
    assert found["last.test_ece_calibrated_clean"] == found["last.test_ece"]  # as they are
    assert found["last.reliability"]["after"] == after.diagram
    assert found["last.test_accuracy_calibrated"] == pytest.approx(2 / 3)
    assert {key.partition(".")[0] for key in found} == {"last"}


def test_wrong_labels_push_the_temperature_up(scene):
    val = torch.tensor([[1.0, 1.5, 0.0], [0.0, 3.0, 0.0], [0.0, 2.0, 0.0]])
    found = results(scene(clean=CLEAN), {"last": val})
    assert found["last.temperature_ratio"] > 1
    assert found["last.temperature_ratio"] == found["last.temperature"] / found["last.temperature_clean"]
    on_clean = calibration(TEST, torch.arange(3), torch.tensor(found["last.temperature_clean"], dtype=torch.float64))
    assert found["last.test_ece_calibrated_clean"] == on_clean.measures["ece"]


def test_clean_labels_nobody_knows(scene):
    found = results(scene(), {"last": VAL})
    assert not [key for key in found if "clean" in key or "ratio" in key] and "last.temperature" in found


def test_without_validation_rows_nothing_is_calibrated(scene):
    found = results(scene(clean=CLEAN))
    assert not [key for key in found if "calibrated" in key or "temperature" in key]
    assert found["last.test_nll"] == pytest.approx(torch.nn.functional.cross_entropy(TEST, torch.arange(3)).item())
    assert found["last.reliability"].keys() == {"before"}


def test_each_rule_has_its_epoch(scene, monkeypatch):
    """Rules that chose one epoch share its figures."""
    calls = []

    def counted(*given):
        calls.append(given)
        return calibration(*given)

    monkeypatch.setattr(probe_module, "calibration", counted)
    for epochs, times in (({"last": 3, "best_val": 2}, 4), ({"last": 3, "best_val": 3}, 2)):
        tests = {"last": TEST, "best_val": MISSED if epochs["best_val"] == 2 else TEST}
        probe = Calibration(SimpleNamespace(epochs=epochs, test=tests, val=dict.fromkeys(epochs, VAL)))
        probe.setup(scene())
        calls.clear()
        found = probe.result()
        assert len(calls) == times
        assert (found["last.test_ece"] == found["best_val.test_ece"]) == (times == 2)


def test_several_labels_and_values(scene):
    """Yeast's kind of labels has a temperature for each; values have no confidence."""
    target = torch.tensor([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    rows = {"test_target": target, "val_target": target, "labels": scene().labels}
    found = results(SimpleNamespace(**rows, task=TASKS["multilabel"]), {"last": VAL})
    assert len(found["last.temperature"]) == 3 and "last.test_auroc_calibrated" not in found
    assert found["last.test_brier_calibrated"] == calibration(TEST, target, temperature(VAL, target)).measures["brier"]
    assert results(SimpleNamespace(task=TASKS["regression"])) == {}


def test_tables_of_it():
    assert of_runs("test_accuracy_calibrated", "last").unit == "%"
    assert of_runs("test_ece_class_calibrated", "last").title == "test ECE class calibrated"
    assert _calibration(["test_accuracy"]) == []
    said = " ".join(_calibration(["test_ece_calibrated"]))
    assert "15 bins of equal width" in said and "less is better" in said and "validation rows" in said
    assert scaled(TEST, torch.tensor(2.0)).equal(TEST.double() / 2)
