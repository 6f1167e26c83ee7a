"""Predictions are made once for all probes, when one first asks; and what standard probes make of them."""

import pytest
import torch
from torch import nn

from lilawbench.methods.supervised import Supervised
from lilawbench.metrics.measure import measure
from lilawbench.probes import base
from lilawbench.probes.attack import Attack
from lilawbench.probes.base import Predictions
from lilawbench.probes.evaluation import Evaluation


@pytest.fixture
def passes(monkeypatch):
    """Lengths of the tables that were predicted."""
    made, predict = [], base.predict
    monkeypatch.setattr(base, "predict", lambda *given: made.append(len(given[2])) or predict(*given))
    return made


def test_each_table_is_predicted_once_and_none_that_nobody_asks_for(scene, context, passes):
    place, ctx = scene(), context(nn.Linear(1, 3))
    predictions = Predictions(ctx, place)
    assert not passes
    for _ in range(2):
        probe = Evaluation()
        probe.setup(place)
        found = probe.see(ctx, None, predictions)
    assert passes == [3, 3]
    expected = {"val": (place.val, place.val_target), "test": (place.test, place.test_target)}
    for split, (rows, target) in expected.items():
        logits = ctx.model(rows.input).detach()
        for name, value in measure(logits, target).items():
            assert found[f"{split}_{name}"] == pytest.approx(value)
    torch.testing.assert_close(predictions.train, ctx.model(place.train.input).detach())
    assert passes == [3, 3, 6]


def test_attacks_come_at_the_best_epochs_and_the_last(scene, context, predicted, epoch):
    place, ctx = scene(Supervised()), context(nn.Linear(1, 3))
    attack, always = Attack([0.0, 0.1]), Attack([0.1], every_epoch=True)
    done = []
    for probe in (attack, always):
        probe.setup(place)
    for number, accuracy in enumerate([0.2, 0.1, 0.2, 0.3, 0.1, 0, 0, 0, 0], start=1):
        last = epoch()
        last.number = number
        measures = predicted(accuracy=accuracy)
        done.append(sorted(attack.see(ctx, last, measures)))
        assert list(always.see(ctx, last, measures)) == ["test_attacked_0.1_accuracy"]
    names = ["test_attacked_0.1_accuracy", "test_attacked_0_accuracy"]
    assert done == [names, [], [], names, [], [], [], [], names]
    again = Attack([0.1])
    again.setup(place)
    again.load_state_dict(attack.state_dict())
    last.number = 5
    assert not again.see(ctx, last, predicted(accuracy=0.3)) and again.see(ctx, last, predicted(accuracy=0.4))
