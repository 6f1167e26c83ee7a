"""What a method says of itself: its own crossings, and a stranger's values by their type."""

import numpy as np
import pytest
import torch

from lilawbench.engine.loop import Epoch
from lilawbench.methods.base import Method, StepOutput
from lilawbench.probes.base import Predictions, Probe
from lilawbench.probes.gather import measured
from lilawbench.probes.method_values import MethodValues
from lilawbench.support.errors import PartError

CLEAN = np.array([0, 1, 1, 1, 2, 0, 0, 1, 2])  # of the training rows 0 0 1 1 2 2, the second and the sixth are wrong


class Stranger(Method):
    """It chooses samples, corrects labels and weights them, and declares a crossing for its temperature alone."""

    def loss(self, ctx, batch):
        logits = ctx.forward(batch.input)
        return StepOutput(self.sample_losses(logits, batch).mean(), logits.detach())


def warmth(observed, clean, *, temperature):
    return {"warm": int((temperature > 1).sum()), "by_class": torch.bincount(clean).tolist()}


Stranger.crossings = (warmth,)
VALUES = {
    "temperature": torch.tensor([0.0, 2.0, 2.0, 0.0, 0.0, 2.0]),
    "small_loss": torch.tensor([True, True, False, False, False, False]),
    "guess": torch.tensor([0, 1, 1, 1, 2, 2]),
    "weight": torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 0.5]),
}
CROSSED = {
    "warm": 3,
    "by_class": [2, 3, 1],
    "small_loss_precision": 1 / 2,
    "small_loss_recall": 1 / 2,
    "guess_accuracy": 5 / 6,
    "weight_clean": 1.0,
    "weight_corrupted": 0.25,
}


def seen_by(probe, scene, epoch):
    probe.setup(scene)
    return probe.see(None, epoch, None)


def test_a_strangers_values_are_crossed_by_its_own_function_and_by_type(scene, epoch):
    found = seen_by(MethodValues(), scene(Stranger(None), CLEAN), epoch(sample_values=VALUES))
    assert found == CROSSED


def test_without_clean_labels_nothing_is_crossed_and_the_rest_is_told(scene, epoch):
    left = epoch(sample_values=VALUES, logs={"rounds": 3}, trace={"alpha": [9.0, 8.5]})
    assert seen_by(MethodValues(), scene(Stranger(None)), left) == {"rounds": 3, "alpha": 8.5}
    assert seen_by(MethodValues(), scene(Stranger(None), CLEAN), left) == {**CROSSED, "rounds": 3, "alpha": 8.5}


def test_a_method_without_values_leaves_nothing(scene, epoch):
    assert seen_by(MethodValues(), scene(clean=CLEAN), epoch()) == {}


def test_two_probes_of_one_name_end_the_run(scene, epoch, context):
    """Or one would overwrite the other's measure without a word."""

    class Same(Probe):
        def see(self, ctx, epoch: Epoch, predictions: Predictions):
            return {"rounds": 1}

    place, ctx = scene(clean=CLEAN), context(torch.nn.Linear(1, 3))
    probes = {"method": MethodValues(), "mine": Same()}
    for probe in probes.values():
        probe.setup(place)
    assert measured(ctx, epoch(), place, probes)[1] == {"rounds": 1}
    with pytest.raises(PartError, match="probe mine measures rounds, a name that is taken"):
        measured(ctx, epoch(logs={"rounds": 3}), place, probes)
