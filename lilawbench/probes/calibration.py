"""Whether the confidence of predictions can be trusted, before and after one temperature."""

import numpy as np
import torch
from torch import Tensor

from lilawbench.engine.loop import Epoch
from lilawbench.methods.context import Context
from lilawbench.metrics.calibration import calibration, scaled, temperature
from lilawbench.metrics.measure import measure
from lilawbench.probes.base import Predictions, Probe, Seen
from lilawbench.probes.chosen import Chosen
from lilawbench.support.plain import Tree

SAME = ("accuracy", "top5_accuracy", "auroc")  # of LiLAW's Table 7: a temperature can move the last alone
LARGEST = 1 << 21  # logits whose SAME are measured again: the AUROC sorts those of every class


class Calibration(Probe):
    """Calibration of the test rows at the epochs of `last` and `best_val`, computed when training has ended.

    result(), for each rule: "last.test_ece" and the other measures of `metrics.calibration`, and "last.reliability":
    {"before": diagram, "after": diagram}. Where there are validation rows, "last.temperature" is fitted on them and the
    labels that the method sees (of several labels a list), and "last.test_ece_calibrated" and so on are of the scaled
    logits, with accuracy and AUROC again. Where clean labels are known, "last.temperature_clean" is fitted on these:
    "last.temperature_ratio" is how many times higher wrong labels have pushed the first, and
    "last.test_ece_calibrated_clean" what the error would have been without. Values have nothing of all this.
    """

    def __init__(self, chosen: Chosen):
        self.chosen = chosen

    def see(self, ctx: Context, epoch: Epoch, predictions: Predictions) -> Seen:
        return {}

    def result(self) -> dict[str, Tree]:
        if self.scene.task.name == "regression":
            return {}
        found: dict[str, Tree] = {}
        of_epoch: dict[int, dict[str, Tree]] = {}
        for rule, number in self.chosen.epochs.items():
            if number not in of_epoch:
                of_epoch[number] = self._measured(self.chosen.test[rule], self.chosen.val.get(rule))
            found |= {f"{rule}.{key}": value for key, value in of_epoch[number].items()}
        return found

    def _measured(self, test: Tensor, val: Tensor | None) -> dict[str, Tree]:
        target = self.scene.test_target
        before = calibration(test, target)
        out: dict[str, Tree] = {f"test_{name}": value for name, value in before.measures.items()}
        if val is None:
            return out | {"reliability": {"before": before.diagram}}
        fitted = temperature(val, self.scene.val_target)
        after = calibration(test, target, fitted)
        out |= {f"test_{name}_calibrated": value for name, value in after.measures.items()}
        if target.ndim == 1 and test.numel() <= LARGEST:
            again = measure(scaled(test, fitted), target)
            out |= {f"test_{name}_calibrated": again[name] for name in SAME if name in again}
        out |= {"temperature": fitted.tolist(), "reliability": {"before": before.diagram, "after": after.diagram}}
        labels = self.scene.labels
        if labels.clean is not None:
            clean = labels.clean[labels.val]
            if np.array_equal(clean, labels.observed[labels.val]):
                on_clean, error = fitted, after.measures["ece"]
            else:
                on_clean = temperature(val, torch.from_numpy(clean))
                error = calibration(test, target, on_clean).measures["ece"]
            out |= {"temperature_clean": on_clean.tolist(), "temperature_ratio": (fitted / on_clean).tolist()}
            out["test_ece_calibrated_clean"] = error
        return out
