"""Stopping early: after so many epochs without a lower validation loss, also after a break."""

import math

import pytest

from lilawbench.probes.early_stop import EarlyStop
from lilawbench.probes.standard import stopped


def stops_at(probe, losses, predicted):
    """The number of epochs after which it ends the run; None: it does not."""
    for number, loss in enumerate(losses, start=1):
        assert probe.see(None, None, predicted(loss=loss)) == {}
        if stopped([probe]):
            return number
    return None


@pytest.mark.parametrize(
    "patience, losses, expected",
    [
        (1, [3, 2, 1, 1, 0], 4),  # an equal one is not lower
        (2, [3, 2, 4, 1, 5, 6, 0], 6),
        (3, [1, 2, 2, 2], 4),
        (3, [1, 2, 2], None),
        (2, [3, 2, 1, 0], None),
        (2, [math.nan, math.inf, 1, math.nan, math.nan], 5),
        (2, [math.nan, math.nan, math.nan], 3),
    ],
)
def test_by_hand(predicted, patience, losses, expected):
    assert stops_at(EarlyStop(patience), losses, predicted) == expected


def test_it_goes_on_counting_after_a_break(predicted):
    losses, first = [3, 2, 4, 1, 5, 6, 0], EarlyStop(2)
    assert stops_at(first, losses[:5], predicted) is None
    second, forgetful = EarlyStop(2), EarlyStop(2)
    second.load_state_dict(first.state_dict())
    assert stops_at(second, losses[5:], predicted) == 1
    assert stops_at(forgetful, losses[5:], predicted) is None
    assert first.losses == losses[:5], "a state is a copy"


def test_nobody_stops_a_run_without_such_a_probe():
    assert not stopped([])
