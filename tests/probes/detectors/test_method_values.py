"""Values of a method as scores: their sign, labels, rows that never trained, and the losses that have some."""

import math
from types import SimpleNamespace

import pytest
import torch

from lilawbench.losses import ELR
from lilawbench.methods.clean_first import CleanFirst
from lilawbench.methods.dividemix import DivideMix
from lilawbench.methods.dynamic_loss import DynamicLoss
from lilawbench.methods.rrm import RRM
from lilawbench.methods.supervised import Supervised
from lilawbench.probes.detectors.method_values import of_method


def test_values_and_their_directions():
    rrm, dynamic = RRM(), DynamicLoss()
    assert list(of_method(rrm)) == ["method_weight", "method_pruned", "method_lowest_weight"]
    assert list(of_method(dynamic)) == ["method_trust", "method_corrected_label"]
    assert list(of_method(Supervised())) == []
    assert list(of_method(Supervised(ELR()))) == ["method_elr_target"]
    assert "method_elr_target" in of_method(RRM(loss=ELR()))


@pytest.mark.parametrize(
    "method, name, value, wanted",
    [
        (RRM(), "weight", [1.0, 0.25, 2.0], [-1, -0.25, -2]),
        (RRM(), "pruned", [False, True, False], [0, 1, 0]),
        (DynamicLoss(), "trust", [0.9, 0.1, 0.5], [-0.9, -0.1, -0.5]),
        (DynamicLoss(), "corrected_label", [0, 1, 2], [0, 0, 1]),  # given: 0 1 0
    ],
)
def test_larger_is_more_suspicious(method, name, value, wanted, looks, scored):
    """The fourth row never trained. A later epoch without the value changes nothing."""
    value = torch.tensor([*value, value[0]])
    seen = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])
    one, other = looks(torch.zeros(2, 4, 3), [0, 1, 0, 0], seen, values={name: value})
    late = looks(torch.zeros(1, 4, 3), [0, 1, 0, 0], seen[1:])
    found = scored(of_method(method)[f"method_{name}"], [one, other, *late])
    torch.testing.assert_close(found.tolist(), [*map(float, wanted), math.nan], equal_nan=True, rtol=1e-6, atol=0)


def test_a_row_that_its_method_left_out_has_a_score_and_other_untrained_rows_have_none(looks, scored):
    value = torch.tensor([True, False, True, False])
    seen = torch.tensor([[0, 0, 1, 1]])
    detector = of_method(CleanFirst())["method_dropped"]
    found = scored(detector, looks(torch.zeros(1, 4, 2), [0, 1, 0, 1], seen, values={"dropped": value}))
    torch.testing.assert_close(found, torch.tensor([1, math.nan, 1, 0]).double(), equal_nan=True)
    assert detector.left_out().tolist() == [True, False, False, False]


def test_weights_of_rrm_are_scores_where_rrm_gives_them():
    weights = {"method_weight", "method_pruned", "method_lowest_weight"}
    assert weights & of_method(DivideMix()).keys() == set()
    assert weights <= of_method(DivideMix(rrm={"reweight_every_epochs": 2, "over": "all"})).keys()


def test_nothing_before_the_method_has_a_value(looks, scored):
    found = scored(of_method(RRM())["method_weight"], looks(torch.zeros(1, 2, 2), [0, 1]))
    assert found.isnan().all()


@pytest.mark.parametrize("make", [Supervised, RRM])
def test_a_method_hands_on_what_its_loss_knows(make):
    method, labels = make(loss=ELR()), torch.tensor([0, 1])
    method.setup(SimpleNamespace(num_train=2, num_classes=2, device=torch.device("cpu"), targets=labels))
    method.per_sample.update(torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log(), labels)
    torch.testing.assert_close(method.sample_values()["elr_target"], torch.tensor([0.75, 0.25]))
    assert not any("observed" in name for name in method.state_dict())


def test_elrs_target_of_the_given_label():
    """p = (3/4, 1/4) twice, beta 1/2: t = 3/4 p, of which the given label has 3/4 or 1/4; the last never trained."""
    loss = ELR(beta=0.5)
    loss.setup(3, 2, torch.device("cpu"))
    for _ in range(2):
        loss.update(torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log(), torch.tensor([0, 1]))
    found = loss.sample_values(torch.tensor([0, 1, 0]))["elr_target"]
    torch.testing.assert_close(found, torch.tensor([0.75, 0.25, 0.0]))
