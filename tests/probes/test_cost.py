"""cost_ce is the mean over all epochs, those before an interruption included."""

import pytest

from lilawbench.probes.cost import Cost


def test_a_resumed_run_keeps_the_sum(scene, epoch):
    first, second = Cost(), Cost()
    assert first.result() == {}
    for probe, costs in ((first, (1.0, 1.5)), (second, (4.5,))):
        probe.setup(scene())
        for cost in costs:
            assert probe.see(None, epoch(cost=cost), None) == {}
        if probe is first:
            second.load_state_dict(probe.state_dict())
    assert second.result() == {"cost_ce": pytest.approx(7 / 3)}
