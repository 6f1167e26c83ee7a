"""What only knowledge of the noise could set is said of a run; an estimate is not."""

import pytest

from lilawbench.losses.correction import BackwardCorrection, ForwardCorrection
from lilawbench.methods.rrm import RRM
from lilawbench.methods.supervised import Supervised
from lilawbench.probes.method_values import MethodValues

MATRIX = [[0.9, 0.1], [0.3, 0.7]]
TOLD = [
    (RRM(), {}),
    (RRM(contamination=0.4), {"told": "method.contamination=0.4"}),
    (Supervised(ForwardCorrection()), {}),
    (Supervised(BackwardCorrection(MATRIX)), {"told": "loss.matrix, a given one"}),
    (RRM(contamination=0.25, loss=ForwardCorrection(MATRIX)),
     {"told": "method.contamination=0.25; loss.matrix, a given one"}),
]  # fmt: skip


@pytest.mark.parametrize("method, result", TOLD, ids=range(len(TOLD)))
def test_what_a_run_was_told_is_in_its_result(method, result, monkeypatch):
    monkeypatch.setattr(type(method), "never_acts", lambda self, epochs, steps: [])
    probe = MethodValues()
    probe.scene, probe.ended = type("Scene", (), {"method": method}), {"epochs": 30, "steps": 9}
    assert probe.result() == result
